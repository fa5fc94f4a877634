"""What is worth repeating of a refusal."""

from keywright.kube.refused import causes_in, message_in, policy_message, refused_user


def test_a_policy_speaks_without_the_preamble() -> None:
    """Which names policy and binding; a message may have several lines."""
    said = (
        "apikeys.keywright.dev \"ci\" is forbidden: ValidatingAdmissionPolicy 'keywright-class-use' with "
        "binding 'keywright-class-use' denied request: you may not use the class:\nask for the verb use"
    )
    assert policy_message(said) == "you may not use the class:\nask for the verb use"
    assert policy_message("the server is busy") is None


def test_the_causes_come_by_field() -> None:
    """One that is of no field comes alone; an answer that is no Status has none."""
    causes = [{"field": "spec.ttl", "message": "no"}, {"message": "nor"}]
    assert causes_in({"message": "long", "details": {"causes": causes}}) == "spec.ttl: no; nor"
    assert causes_in({"message": "long"}) == ""
    assert causes_in(None) == ""


def test_an_answer_without_a_message_says_nothing() -> None:
    """Nor does none."""
    assert message_in({"message": "Unauthorized"}) == "Unauthorized"
    assert message_in({"message": None}) == ""
    assert message_in(None) == ""


def test_a_missing_right_names_who_lacks_it() -> None:
    """That may be an account that acts for somebody."""
    said = 'apikeys.keywright.dev is forbidden: User "system:serviceaccount:ci:bot" cannot list resource "apikeys"'
    assert refused_user(said) == "system:serviceaccount:ci:bot"
    assert refused_user("Unauthorized") is None
