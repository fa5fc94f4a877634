"""The table of keys, and the administrator's view of one owner's."""

from pathlib import Path

from playwright.sync_api import expect

from keywright_local import ControlPlane
from tests.integration.conftest import Namespaces
from tests.support.browser import Visit
from tests.support.console import make_account
from tests.support.console_visits import Person, accepted, generate
from tests.support.kube import Kube, eventually
from tests.support.people import bind_cluster
from tests.support.processes import Process, verifier

pytest_plugins = ["tests.support.console_stage"]


def test_the_table_is_searched_and_filtered(visit: Visit, person: Person, admin: Kube) -> None:
    """By word as one types, by status and owner, only one's own; words and symbols say what colours say; own keys first."""
    place = person.namespace
    admin.apikey(
        place, "another", className="standard", displayName="Someone else's", owner={"user": "zoe@example.com"}
    )
    admin.apikey(place, "soon", className="standard", displayName="Ends soon", ttl="2h", owner={"user": person.user})
    admin.apikey(place, "over", className="standard", revoked=True)
    for name, condition in (("another", "True"), ("soon", "True"), ("over", "False")):
        admin.wait(place, name, Active=condition)
    page = visit.sign_in(person.token, f"/?namespace={place}")
    rows = page.get_by_role("table").get_by_role("row")
    expect(rows.nth(1)).to_contain_text("Ends soon")
    expect(rows.nth(1)).to_contain_text("⚠ Expiring")
    expect(rows.filter(has_text="over")).to_contain_text("✕ Revoked")
    expect(rows.filter(has_text="Someone else's")).to_contain_text("✓ Active")
    for words, tone in (("Ends soon", "amber"), ("over", "red"), ("Someone else's", "plain")):
        expect(rows.filter(has_text=words)).to_have_class(tone)
    expect(rows.filter(has_text="Ends soon").locator("svg.mini")).to_have_class("mini amber")
    grounds = {
        tone: page.locator(f".status{tone}").first.evaluate("each => getComputedStyle(each).backgroundColor")
        for tone in (".amber", ".red", ":not(.amber, .red)")
    }
    assert len(set(grounds.values())) == 3, grounds

    page.get_by_label("Search").press_sequentially("someone")
    expect(rows.filter(visible=True)).to_have_count(2)
    expect(page.get_by_text("1 of 3 shown")).to_be_visible()
    page.get_by_label("Search").press("Enter")
    expect(rows).to_have_count(2)
    page.get_by_label("Search").fill("")
    page.get_by_label("Status").select_option("Expiring")
    page.get_by_role("button", name="Show").click()
    expect(rows).to_have_count(2)
    expect(rows.nth(1)).to_contain_text("Ends soon")
    page.get_by_label("Status").select_option("")
    page.get_by_label("Owner").fill("zoe@example.com")
    page.get_by_role("button", name="Show").click()
    expect(rows.nth(1)).to_contain_text("Someone else's")
    page.get_by_label("Owner").fill("")
    page.get_by_label("Only mine").check()
    page.get_by_role("button", name="Show").click()
    expect(rows).to_have_count(2)
    expect(rows.nth(1)).to_contain_text("you")
    page.get_by_label("Search").fill("nothing is called so")
    page.get_by_label("Search").press("Enter")
    expect(page.get_by_text("No key is like that.")).to_be_visible()


def test_many_keys_come_in_pages(visit: Visit, person: Person, admin: Kube) -> None:
    """Fifty at a time, each of them once."""
    for number in range(53):
        admin.apikey(person.namespace, f"key-{number:02}", className="standard", revoked=True)
    page = visit.sign_in(person.token, f"/?namespace={person.namespace}")
    expect(page.get_by_text("1 to 50 of 53")).to_be_visible()
    first = set(page.get_by_role("rowheader").all_inner_texts())
    page.get_by_role("link", name="Next").click()
    expect(page.get_by_text("51 to 53 of 53")).to_be_visible()
    assert len(first | set(page.get_by_role("rowheader").all_inner_texts())) == 53


def test_the_use_of_a_replaced_key_is_marked(
    plane: ControlPlane, visit: Visit, person: Person, admin: Kube, tmp_path: Path
) -> None:
    """In the table in words, and on the key's page beside its end, as soon as a verifier has told of it."""
    page = visit.sign_in(person.token)
    old = generate(page, person.namespace, "still used")
    page.get_by_role("link", name="show the key's page").click()
    page.get_by_role("link", name="Rotate").click()
    page.get_by_role("button", name="Rotate").click()
    expect(page.get_by_role("heading", name="The new key of still used")).to_be_visible()
    flags = ("--usage-interval", "1s")
    with verifier(plane.kubeconfig, tmp_path / "log", *flags, namespaces=[person.namespace]) as (_, listen, _admin):

        def is_marked() -> bool:
            accepted(listen, old)
            visit.open(f"/?namespace={person.namespace}&status=old+key+in+use")
            return page.get_by_role("row").filter(has_text="⚠ Active (old key in use)").count() == 1

        eventually(is_marked, within=60)
    page.get_by_role("link", name="still used").click()
    expect(page.get_by_text(f"The old key {old.split('_')[2]} still works.").locator("..")).to_contain_text("last used")


def test_an_administrator_revokes_all_keys_of_a_leaver(
    plane: ControlPlane,
    visit: Visit,
    admin: Kube,
    namespace: str,
    make_namespace: Namespaces,
    shared_operator: Process,
    verifying: str,
) -> None:
    """His keys of all namespaces are named before; after that none works. The keys of others do."""
    places = (namespace, make_namespace(admin))
    leaver = {"user": f"bob/of {namespace}@example.com"}
    for place in places:
        admin.apikey(place, "his", className="standard", owner=leaver, displayName=f"Bob's in {place}")
        admin.apikey(place, "other", className="standard", owner={"user": "eve@example.com"})
        for name in ("his", "other"):
            admin.wait(place, name, Active="True")
    his, others = ([admin.plain_key(place, name) for place in places] for name in ("his", "other"))
    token = make_account(admin, namespace, "boss")
    rules = {"apiGroups": ["keywright.dev"], "resources": ["apikeys"], "verbs": ["get", "list", "patch", "update"]}
    bind_cluster(admin, f"system:serviceaccount:{namespace}:boss", rules)
    page = visit.sign_in(token, "/users")
    page.get_by_label("User").fill(leaver["user"])

    def is_shown() -> bool:
        visit.open("/users")
        page.get_by_label("User").fill(leaver["user"])
        with page.expect_navigation():
            page.get_by_role("button", name="Show the keys").click()
        return page.get_by_role("table").count() == 1

    eventually(is_shown, within=30)  # rights become known some time after they are given
    expect(page.get_by_role("table").get_by_role("row")).to_have_count(3)
    page.get_by_role("link", name="Revoke all 2").click()
    for place in places:
        expect(page.get_by_text(f"Bob's in {place}")).to_be_visible()
    page.get_by_label("Reason").fill("left")
    page.get_by_role("button", name="Revoke all 2").click()
    expect(page.get_by_text("2 of 2 revoked.")).to_be_visible()
    eventually(lambda: not any(accepted(verifying, each) for each in his))
    assert all(accepted(verifying, each) for each in others)


def test_somebody_without_rights_sees_nobodys_keys(visit: Visit, person: Person) -> None:
    """The administrator's view asks for the administrator's rights."""
    page = visit.sign_in(person.token, "/users/eve%40example.com")
    expect(page.get_by_role("heading", name="You may not do this")).to_be_visible()
