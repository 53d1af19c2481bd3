"""Damaged OBJ, PLY and STL files, and files of one kind under the name of another."""

from __future__ import annotations

import struct
from collections.abc import Iterator

from bundle3d.tests.malformed.whole_files import Case, ply_file, stl_file, valid_files
from bundle3d.tests.meshes.gltf_maker import png

NAN, INF = float("nan"), float("inf")


def obj() -> Iterator[Case]:
    corners = "v 0 0 0\nv 1 0 0\nv 0 1 0\n"
    bodies = {
        "empty": "",
        "comments only": "# nothing\n",
        "vertices only": corners,
        "lines only": corners + "l 1 2 3\n",
        "two numbers per vertex": "v 0 0\nv 1 0\nv 0 1\nf 1 2 3\n",
        "vertex of words": "v zero 0 0\n" + corners + "f 1 2 3\n",
        "nan vertex": "v nan 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 3\n",
        "infinite vertex": "v inf 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 3\n",
        "overflowing vertex": "v 1e999 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 3\n",
        "index zero": corners + "f 0 1 2\n",
        "index too large": corners + "f 1 2 4\n",
        "index too negative": corners + "f -1 -2 -4\n",
        "index beyond 64 bits": corners + f"f 1 2 {2**70}\n",
        "index of words": corners + "f a b c\n",
        "float index": corners + "f 1.0 2.0 3.0\n",
        "two corners": corners + "f 1 2\n",
        "no corners": corners + "f\n",
        "missing texture coordinates": corners + "f 1/1 2/1 3/1\n",
        "missing normals": corners + "f 1//1 2//1 3//1\n",
        "empty index": corners + "f / / /\n",
        "nan uv": corners + "vt nan 0\nf 1/1 2/1 3/1\n",
        "uv without numbers": corners + "vt\nf 1/1 2/1 3/1\n",
        "short normal": corners + "vn 0 1\nf 1//1 2//1 3//1\n",
        "nan normal": corners + "vn 0 nan 1\nf 1//1 2//1 3//1\n",
        "digits that are too long": corners + "f 1 2 " + "9" * 5000 + "\n",
    }
    for name, text in bodies.items():
        yield Case(f"obj {name}", "bad.obj", text.encode())
    foreign = (
        "../m.mtl",
        "../../etc/passwd",
        "/etc/passwd",
        "C:\\m.mtl",
        "\\\\host\\m.mtl",
        "http://example.invalid/m",
    )
    for name in (*foreign, "x" * 5000):
        yield Case(f"obj library {name[:30]}", "library.obj", f"mtllib {name}\n{corners}f 1 2 3\n".encode())
    for name in ("../t.png", "/etc/passwd", "..\\t.png", "file:///t.png", "-s 1 1 1 ../../t.png"):
        library = f"newmtl a\nmap_Kd {name}\n".encode()
        body = f"mtllib m.mtl\n{corners}usemtl a\nf 1 2 3\n".encode()
        yield Case(f"obj texture path {name}", "texture.obj", body, {"m.mtl": library})


def ply() -> Iterator[Case]:
    whole = ply_file()
    for size in (0, 3, 4, 30, 100, whole.index(b"end_header"), len(whole) - 40, len(whole) - 13, len(whole) - 1):
        yield Case(f"ply cut to {size} bytes", "cut.ply", whole[:size])
    for name, old, new in (
        ("magic", b"ply\n", b"plx\n"),
        ("format", b"binary_little_endian", b"binary_middle_endian"),
        ("no format", b"format binary_little_endian 1.0\n", b""),
        ("count of words", b"vertex 3", b"vertex three"),
        ("negative count", b"vertex 3", b"vertex -3"),
        ("count of a billion", b"vertex 3", b"vertex 1000000000"),
        ("count of 30 digits", b"vertex 3", b"vertex " + b"9" * 30),
        ("too many vertices", b"vertex 3", b"vertex 4"),
        ("too many faces", b"face 1", b"face 2"),
        ("billions of faces", b"face 1", b"face 4000000000"),
        ("no faces", b"face 1", b"face 0"),
        ("no vertices", b"vertex 3", b"vertex 0"),
        ("unknown type", b"property float x", b"property quad x"),
        ("twice the same property", b"property float y", b"property float x"),
        ("no z", b"property float z", b"property float w"),
        ("list as x", b"property float x", b"property list uchar float x"),
        ("float list length", b"list uchar int", b"list float int"),
        ("faces without corners", b"vertex_indices", b"other_indices"),
        ("scalar corners", b"property list uchar int", b"property int"),
        ("property before element", b"element vertex 3\n", b""),
        ("unknown keyword", b"element face 1", b"elephant face 1"),
        ("no end of header", b"end_header", b"end_heeder"),
        ("index out of range", struct.pack("<B3i", 3, 0, 1, 2), struct.pack("<B3i", 3, 0, 1, 3)),
        ("negative index", struct.pack("<B3i", 3, 0, 1, 2), struct.pack("<B3i", 3, 0, 1, -1)),
        ("list that is too long", struct.pack("<B3i", 3, 0, 1, 2), struct.pack("<B3i", 200, 0, 1, 2)),
        ("polygon of two corners", struct.pack("<B3i", 3, 0, 1, 2), struct.pack("<B2i", 2, 0, 1)),
        ("nan", struct.pack("<f", 1.0), struct.pack("<f", NAN)),
        ("infinite", struct.pack("<f", 1.0), struct.pack("<f", INF)),
    ):
        assert old in whole
        yield Case(f"ply {name}", "bad.ply", whole.replace(old, new, 1))
    head = whole.partition(b"end_header")[0].replace(b"binary_little_endian", b"ascii") + b"end_header\n"
    for name, body in (
        ("without data", b""),
        ("short row", b"0 0 0\n1 0\n0 1 0\n3 0 1 2\n"),
        ("of words", b"a b c\n1 0 0\n0 1 0\n3 0 1 2\n"),
        ("nan", b"nan 0 0\n1 0 0\n0 1 0\n3 0 1 2\n"),
        ("face missing", b"0 0 0\n1 0 0\n0 1 0\n"),
        ("face too short", b"0 0 0\n1 0 0\n0 1 0\n3 0 1\n"),
        ("index out of range", b"0 0 0\n1 0 0\n0 1 0\n3 0 1 9\n"),
        ("index nan", b"0 0 0\n1 0 0\n0 1 0\n3 0 1 nan\n"),
        ("index infinite", b"0 0 0\n1 0 0\n0 1 0\n3 0 1 1e400\n"),
        ("list length nan", b"0 0 0\n1 0 0\n0 1 0\nnan 0 1 2\n"),
        ("list length negative", b"0 0 0\n1 0 0\n0 1 0\n-3 0 1 2\n"),
    ):
        yield Case(f"ascii ply {name}", "text.ply", head + body)


def stl() -> Iterator[Case]:
    whole = stl_file()
    for size in (0, 10, 80, 83, 84, 100, len(whole) - 1):
        yield Case(f"stl cut to {size} bytes", "cut.stl", whole[:size])
    for count in (0, 2, 1000, 2**32 - 1):
        size = 84 if count == 0 else len(whole)
        yield Case(f"stl claims {count} facets", "count.stl", whole[:80] + struct.pack("<I", count) + whole[84:size])
    for name, value in (("nan", NAN), ("infinite", INF)):
        yield Case(f"stl {name}", "value.stl", whole.replace(struct.pack("<f", 1.0), struct.pack("<f", value)))
    facet = "facet normal 0 0 1\nouter loop\nvertex 0 0 0\nvertex 1 0 0\nvertex 0 1 0\nendloop\nendfacet\n"
    for name, text in (
        ("empty", "solid a\nendsolid a\n"),
        ("cut", "solid a\n" + facet),
        ("cut in a facet", "solid a\n" + facet[:50]),
        ("two corners", "solid a\n" + facet.replace("vertex 0 1 0\n", "") + "endsolid\n"),
        ("of words", "solid a\n" + facet.replace("1 0 0", "one 0 0") + "endsolid\n"),
        ("nan", "solid a\n" + facet.replace("1 0 0", "nan 0 0") + "endsolid\n"),
        ("overflow", "solid a\n" + facet.replace("1 0 0", "1e999 0 0") + "endsolid\n"),
    ):
        yield Case(f"ascii stl {name}", "text.stl", text.encode())


def foreign() -> Iterator[Case]:
    """Files of one kind under the name of another, and kinds that are not read."""
    others = {
        "png": png((1, 2, 3)),
        "html": b"<!doctype html><p>Not found",
        "zip": b"PK\3\4" + bytes(60),
        "pickle": b"\x80\4N.",
    }
    for kind, data in others.items():
        for suffix in ("glb", "gltf", "obj", "ply", "stl"):
            yield Case(f"{kind} named {suffix}", f"foreign.{suffix}", data)
    whole = valid_files()
    pairs = (("obj", "glb"), ("stl", "glb"), ("glb", "ply"), ("ply", "stl"), ("glb", "gltf"), ("glb", "stl"))
    for kind, suffix in pairs:
        yield Case(f"{kind} named {suffix}", f"foreign.{suffix}", whole[kind])
    for suffix in ("fbx", "usdz", "blend", "txt", "glb.exe", "3mf"):
        yield Case(f"glb named {suffix}", f"foreign.{suffix}", whole["glb"])
