"""Builds what a measurement needs and names the files: for `boot --exact` and `cost`."""

from __future__ import annotations

import hashlib

from sprout.build.driver import build
from sprout.build.graph import Settings, load_graph
from sprout.build.tree import Tree
from sprout.cost.measure import Subject


def built_subject(tree: Tree, name: str, settings: Settings) -> tuple[int, Subject | None]:
    """Build the image `name` of `tree` and the counting plugins; give (exit status, subject).

    The subject is None where building failed.
    """
    chosen = tree.images[name]
    status = build(tree, [f"{name}-image", "counter"], settings)
    if status != 0:
        return status, None
    # Loaded again: building may have resolved a source, and with it moved a key.
    steps = load_graph(tree, settings).steps
    kernel, initramfs = steps[f"{chosen.flavor}-kernel"], steps[f"{chosen.initramfs}-initramfs"]
    stub = steps["stub"]
    tools = [kernel.parts["tools"], initramfs.parts["tools"], initramfs.parts["libc"]]
    tools.append(stub.parts["tools"])
    return 0, Subject(
        name=name,
        image=steps[f"{name}-image"].files()[0],
        cmdline=chosen.cmdline,
        kernel=kernel.directory,
        initramfs=initramfs.directory,
        stub_symbols=stub.files()[1],
        plugins=steps["counter"].directory,
        toolchain=hashlib.sha256(" ".join(tools).encode()).hexdigest(),
    )
