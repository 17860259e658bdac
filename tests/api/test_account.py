"""GET and PUT /v1/account, by token and by mailbox password; DELETE /v1/account/api-token."""
import pytest

from rest import ADMIN, PASSWORD, api, new_mailbox, new_user, unique


@pytest.fixture(scope="module")
def box():
    return new_mailbox()


def test_the_account_behind_a_token(owner):
    got = api("GET", "/v1/account", token=owner[1])
    assert got.status == 200
    assert got.json["object"] == "user" and got.json["email"] == owner[0] and got.json["group"] == "user"
    assert not {"api_token", "api_token_hash", "password_hash", "is_banned", "smtp_limit"} & set(got.json)


@pytest.mark.parametrize("how", ["json", "form", "fields"])
def test_all_forms_of_a_body_change_the_account(how):
    address, token = new_user()
    got = api("PUT", "/v1/account", token=token, **{how: {"given_name": "Jané", "family_name": "Doe & Co", "avatar_url": "https://a.test/x?y=1"}})
    assert got.status == 200, got
    assert (got.json["given_name"], got.json["family_name"], got.json["avatar_url"]) == ("Jané", "Doe & Co", "https://a.test/x?y=1")
    assert api("GET", "/v1/account", token=token).json["given_name"] == "Jané"


@pytest.mark.parametrize("body", [{"email": "nobody"}, {"avatar_url": "javascript:alert(1)"}, {"default_forwarding_address": "x"}])
def test_bad_values_change_nothing(owner, body):
    assert api("PUT", "/v1/account", token=owner[1], json=body).status == 400
    assert api("GET", "/v1/account", token=owner[1]).json["email"] == owner[0]


def test_an_address_belongs_to_one_account(owner):
    other = new_user()
    assert api("PUT", "/v1/account", token=owner[1], json={"email": other[0].upper()}).status == 400


def test_an_address_is_kept_as_it_is_asked_for():
    _, token = new_user()
    name = unique("Jane")
    assert api("PUT", "/v1/account", token=token, json={"email": " %s@Bücher.TEST " % name}).json["email"] == name.lower() + "@xn--bcher-kva.test"


def test_long_names_are_cut_between_characters(owner):
    got = api("PUT", "/v1/account", token=owner[1], json={"given_name": "x" + "é" * 300})
    assert got.status == 200 and got.json["given_name"].startswith("xéé")


def test_settings_need_a_mailbox(owner):
    assert api("PUT", "/v1/account", token=owner[1], json={"settings": {}}).status == 401


def test_a_disabled_token_opens_nothing():
    _, token = new_user()
    assert api("GET", "/v1/account", token=token).status == 200
    assert api("DELETE", "/v1/account/api-token", token=token).json == {"api_token_disabled": True}
    assert api("GET", "/v1/account", token=token).status == 401


# ---- with the password of a mailbox -----------------------------------------------------------------------------------------

def test_the_mailbox_behind_a_password(box):
    got = api("GET", "/v1/account", auth=(box, PASSWORD))
    assert got.status == 200
    assert got.json["object"] == "alias" and got.json["email"] == box and got.json["storage_quota"] > 0
    assert "wraps" not in got.json


def test_settings_are_merged_path_by_path(box):
    def put(settings):
        return api("PUT", "/v1/account", auth=(box, PASSWORD), json={"settings": settings})

    assert put({"mail": {"sent_folder": "Sent", "archive_folder": "Old"}}).status == 200
    assert put({"label_settings": {"work": {"name": "Work", "color": "#3b82f6"}}}).status == 200
    got = put({"mail": {"archive_folder": None}, "unknown": {"x": 1}})
    assert got.status == 200
    assert got.json["settings"]["mail"]["sent_folder"] == "Sent" and got.json["settings"]["mail"]["archive_folder"] is None
    assert got.json["settings"]["label_settings"]["work"]["color"] == "#3b82f6"
    assert "unknown" not in got.json["settings"]


@pytest.mark.parametrize("settings", ["x", {"mail": {"sent_folder": " "}}, {"mail": {"sent_folder": 7}}, {"label_settings": {"!no": {}}},
                                      {"label_settings": {"a": {"color": "red"}}}, {"label_settings": []}, {"aliases": {"defaults": 1}}])
def test_bad_settings_are_refused(box, settings):
    assert api("PUT", "/v1/account", auth=(box, PASSWORD), json={"settings": settings}).status == 400


def test_a_wrong_password_opens_nothing(box):
    got = api("GET", "/v1/account", auth=(box, "wrong"))
    assert got.status == 401 and got.headers["WWW-Authenticate"].startswith("Basic ")
    assert api("DELETE", "/v1/account/api-token", auth=(box, PASSWORD)).status == 401


def test_the_administrator(owner):
    assert api("GET", "/v1/account", token=ADMIN).json["group"] == "admin"
