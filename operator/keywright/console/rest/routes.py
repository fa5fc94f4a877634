"""All that programs can ask for, as one router."""

from fastapi import APIRouter

from keywright.console.rest import document, endpoints

__all__ = ["router"]

router = APIRouter()
router.include_router(endpoints.router)
router.include_router(document.router)
