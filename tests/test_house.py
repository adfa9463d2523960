"""The house stands as CONTRIBUTING draws it: no circle of imports, small folders, and every place on the map exists."""

import ast
import importlib
import re
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent
HOUSES = ("llm_jax", "train", "serve")
MOST_ENTRIES = 14  # of a room: what one can take in at a glance
MOST_ENTRIES_OF_A_HOUSE = 19


def module_of(path):
    parts = path.relative_to(REPOSITORY).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_of(path): path for house in HOUSES for path in (REPOSITORY / house).rglob("*.py")}


def imports_of(tree, known):
    """Modules that `tree` imports at any place, those for type checkers left out."""
    hidden = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)
        for statement in node.body
        for inner in ast.walk(statement)
    }
    for node in ast.walk(tree):
        if id(node) in hidden:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in known)
        elif isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                name = f"{node.module}.{alias.name}"
                if name in known or node.module in known:
                    yield name if name in known else node.module


def circles(graph):
    """Groups of modules that import each other (Tarjan 1972: strongly connected components of more than one)."""
    index, low, stack, found = {}, {}, [], []

    def visit(module):
        index[module] = low[module] = len(index)
        stack.append(module)
        for other in graph[module]:
            if other not in index:
                visit(other)
                low[module] = min(low[module], low[other])
            elif other in stack:
                low[module] = min(low[module], index[other])
        if low[module] == index[module]:
            at = stack.index(module)
            if len(group := stack[at:]) > 1:
                found.append(sorted(group))
            del stack[at:]

    for module in graph:
        if module not in index:
            visit(module)
    return found


@pytest.fixture(scope="module")
def graph():
    return {
        module: set(imports_of(ast.parse(path.read_text(encoding="utf8")), MODULES)) - {module}
        for module, path in MODULES.items()
    }


def test_circles_are_found():
    assert circles({"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a"}}) == [["a", "b", "c"]]
    tree = ast.parse("if TYPE_CHECKING:\n    import a\ndef f():\n    from b import c\n")
    assert list(imports_of(tree, {"a", "b"})) == ["b"]


def test_no_module_imports_itself_through_others(graph):
    assert circles(graph) == []


def test_no_room_imports_its_own_command(graph):
    """What the work needs to know stands in the room's config: then it can be called without a command line."""
    for module, imported in graph.items():
        room = module.rsplit(".", 1)[0]
        own = {f"{room}.command"} - {module}
        assert not own & imported, f"{module} imports {own}"


def test_every_command_is_the_door_of_a_room():
    for house in ("train", "serve"):
        for module, _ in importlib.import_module(f"{house}.__main__").COMMANDS.values():
            assert module in MODULES
            assert module.rsplit(".", 1)[1].endswith("command"), module


def test_a_folder_can_be_taken_in_at_a_glance():
    for folder in {path.parent for path in MODULES.values()}:
        entries = [entry.name for entry in folder.iterdir() if entry.name[0] not in "._"]
        most = MOST_ENTRIES_OF_A_HOUSE if folder.parent == REPOSITORY else MOST_ENTRIES
        assert len(entries) <= most, f"{folder.relative_to(REPOSITORY)}: {sorted(entries)}"


MAP = (REPOSITORY / "CONTRIBUTING.md").read_text(encoding="utf8")


DRAWN = {
    house: re.search(rf"### `{house}/`.*?```\n(.*?)```", MAP, re.DOTALL)[1].splitlines()  # type: ignore[index]
    for house in HOUSES
}


@pytest.mark.parametrize("house", HOUSES)
def test_the_map_names_every_room_below_the_rooms_that_it_imports(house, graph):
    """Each line of the map may import only lines above it."""
    lines = [re.split(r"\s{2,}", line)[0] for line in DRAWN[house] if not line.startswith(" ")]
    place = {name.strip(" /"): number for number, names in enumerate(lines) for name in names.split(",")}
    rooms = {module.split(".")[1] for module in graph if module.startswith(f"{house}.")}
    assert place.keys() == rooms - {"__main__", "commands"}
    for module, imported in graph.items():
        for other in imported:
            if module.split(".")[0] == other.split(".")[0] == house and "." in other:
                room, below = (name.split(".")[1] for name in (module, other))
                assert place.get(below, -1) <= place.get(room, len(lines)), f"{module} imports {other}"


PATHS = set(re.findall(r"`((?:llm_jax|train|serve|tests|slurm|lessons|docs|benchmarks)/[\w./-]*)`", MAP))
PLACEHOLDER = re.compile(r"NN_|/name\.py$")  # lessons/NN_name.py: any lesson


@pytest.mark.parametrize("path", sorted(path for path in PATHS if not PLACEHOLDER.search(path)))
def test_every_path_on_the_map_exists(path):
    assert (REPOSITORY / path).exists()


@pytest.mark.parametrize(
    ("path", "name"),
    sorted(
        (path, name)
        for path, names in re.findall(r"`((?:llm_jax|train|serve)/[\w/]+\.py)`: ((?:`[\w.]+`(?:, )?)+)", MAP)
        for name in re.findall(r"[\w.]+", names)
    ),
)
def test_every_function_on_the_map_exists(path, name):
    found = importlib.import_module(module_of(REPOSITORY / path))
    for part in name.split("."):
        found = getattr(found, part, None)
    assert callable(found) or isinstance(found, dict)
