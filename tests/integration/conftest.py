import pathlib
import shutil
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))

from workflow_testing import open_folder  # noqa: E402


@pytest.fixture
def open_path():
    """A folder that other users may enter: postgres, nginx's workers."""
    folder = open_folder("workflow-test-")
    yield folder
    shutil.rmtree(folder)
