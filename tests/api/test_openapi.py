"""The description of the API: it is valid OpenAPI, complete, and reachable where clients look for it."""
import re

import jsonschema

from rest import api, description, raw

METHODS = {"get", "put", "post", "delete", "patch"}


def operations():
    return [(path, method, op) for path, item in description()["paths"].items() for method, op in item.items() if method in METHODS]


def test_it_is_served_in_both_places():
    assert api("GET", "/openapi.json").json == api("GET", "/v1/openapi.json").json
    assert description()["openapi"].startswith("3.1")


def test_every_reference_leads_somewhere():
    names = set(description()["components"]["schemas"])
    for name in set(re.findall(r'"\$ref": ?"#/components/schemas/([^"]+)"', raw("GET", "/openapi.json").text)):
        assert name in names, name


def test_schemas_are_json_schemas():
    for name, schema in description()["components"]["schemas"].items():
        jsonschema.Draft202012Validator.check_schema(schema)
    for path, method, op in operations():
        for answer in op["responses"].values():
            for content in answer.get("content", {}).values():
                jsonschema.Draft202012Validator.check_schema(content["schema"])


def test_operations_are_whole():
    seen = set()
    for path, method, op in operations():
        where = method + " " + path
        assert op["operationId"] not in seen, where
        seen.add(op["operationId"])
        assert op["summary"].endswith("."), where
        assert set(re.findall(r"{(\w+)}", path)) == {p["name"] for p in op["parameters"] if p["in"] == "path"}, where
        assert "200" in op["responses"], where
        for status, answer in op["responses"].items():
            assert answer["description"], where
            if int(status) >= 400:
                assert answer["content"]["application/json"]["schema"] == {"$ref": "#/components/schemas/Error"}, where


def test_what_needs_an_account_says_so():
    for path, method, op in operations():
        if op["security"]:
            assert "401" in op["responses"], path
            real = re.sub(r"{\w+}", "x", path)
            assert api(method.upper(), real).status == 401, path
