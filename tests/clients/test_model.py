"""docs/lambda.md against botocore's model: it has every operation, and every member of the input of those that are here.
Its table of clients says that some of them work with all that is here: then their tests call it.

host-agent's own tests hold that the agent does what that page says.
"""

import pathlib
import re
import unittest

import botocore
import botocore.session
from botocore import xform_name

PAGE = pathlib.Path(__file__).parents[2] / "docs" / "lambda.md"
# Whose tests call everything that is here: how they call an operation, and how they spell its name.
CALLS = {
    "test_lambda.py": (r"\baws\.get_paginator\(\"(\w+)\"|\baws\.(\w+)", xform_name),
    "test_awscli.py": (r"[\[(]\s*\"([a-z-]+)\"", lambda name: xform_name(name, "-")),
    "lambda.test.mjs": (r"\bnew (\w+)Command\(|\bof paginate(\w+)\(", str),
}

class Model(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        print(f"botocore {botocore.__version__}", flush=True)
        cls.model = botocore.session.Session().get_service_model("lambda")
        text = PAGE.read_text()
        cls.operations = dict(re.findall(r"^\| `(\w+)` \| (yes|later|no) \|", text, re.M))
        found = re.findall(r"^\| (\w+) \| `([\w.-]+)` \| (used|kept|only|refused|within) \|", text, re.M)
        cls.members = {}
        for operation, member, decision in found:
            cls.members.setdefault(operation, {})[member.lower()] = decision

    def test_every_operation_is_decided_on(self):
        self.assertEqual(set(self.model.operation_names) - set(self.operations), set())

    def test_every_member_is_decided_on(self):
        for operation, here in self.operations.items():
            if here != "yes" or operation not in self.model.operation_names:
                continue
            shape = self.model.operation_model(operation).input_shape
            missing = []
            if shape is not None:
                self.walk(self.members.get(operation, {}), shape, "", missing)
            self.assertEqual(missing, [], operation)

    def test_clients_call_all_that_is_here(self):
        here = [operation for operation, is_here in self.operations.items() if is_here == "yes"]
        self.assertEqual(len(here), 31)
        for test, (call, spelt) in CALLS.items():
            text = (pathlib.Path(__file__).parent / test).read_text()
            called = {name for match in re.finditer(call, text) for name in match.groups() if name}
            self.assertEqual([name for name in here if spelt(name) not in called], [], test)

    def walk(self, decisions, shape, within, missing):
        for name, member in shape.members.items():
            where = member.serialization.get("location")
            # The path says it; and a payload is the function's.
            if where == "uri" or name == shape.serialization.get("payload"):
                continue
            # In a query and in headers the name is the one that travels.
            path = within + (member.serialization.get("name", name) if where else name)
            decision = decisions.get(path.lower())
            if decision is None:
                missing.append(path)
            elif decision == "within":
                self.walk(decisions, member, f"{path}.", missing)


if __name__ == "__main__":
    unittest.main()
