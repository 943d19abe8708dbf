"""The object store as its users see it: boto3, s3cmd, plain HTTP; and what it promises when things break."""

import base64
import concurrent.futures
import datetime
import hashlib
import os
import pathlib
import random
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
import zlib

import boto3
import botocore.config
import botocore.exceptions
import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
from objectstore_under_test import ACCESS, SECRET, ObjectStore, store  # noqa: E402, F401
from workflow_testing import WORKFLOW, run, wait_for  # noqa: E402


@pytest.fixture
def s3(store):
    return store.client()


@pytest.fixture
def own_store(tmp_path):
    server = ObjectStore(tmp_path)
    yield server
    server.stop()


def error_code(caught):
    return caught.value.response["Error"]["Code"]


def keys(page):
    return [entry["Key"] for entry in page.get("Contents", [])]


def test_buckets_are_made_listed_and_removed(s3):
    assert "builder" in [bucket["Name"] for bucket in s3.list_buckets()["Buckets"]]
    s3.create_bucket(Bucket="first-bucket")
    s3.head_bucket(Bucket="first-bucket")
    assert s3.get_bucket_location(Bucket="first-bucket")["LocationConstraint"] is None
    with pytest.raises(botocore.exceptions.ClientError) as caught:
        s3.create_bucket(Bucket="first-bucket")
    assert error_code(caught) == "BucketAlreadyOwnedByYou"
    s3.put_object(Bucket="first-bucket", Key="k", Body=b"")
    with pytest.raises(botocore.exceptions.ClientError) as caught:
        s3.delete_bucket(Bucket="first-bucket")
    assert error_code(caught) == "BucketNotEmpty"
    s3.delete_object(Bucket="first-bucket", Key="k")
    s3.delete_bucket(Bucket="first-bucket")
    with pytest.raises(botocore.exceptions.ClientError) as caught:
        s3.list_objects_v2(Bucket="first-bucket")
    assert error_code(caught) == "NoSuchBucket"


@pytest.mark.parametrize("name", ["metrics", "ab", "Upper", "under_score", "-dash", "dot..dot"])
def test_a_bad_bucket_name_is_refused(store, name):
    from botocore.handlers import validate_bucket_name

    client = store.client()
    client.meta.events.unregister("before-parameter-build.s3", validate_bucket_name)
    with pytest.raises(botocore.exceptions.ClientError) as caught:
        client.create_bucket(Bucket=name)
    assert error_code(caught) == "InvalidBucketName"


@pytest.mark.parametrize("size", [0, 1, 4096, 262143, 262144, 262145, 1_000_000, 5_000_001])
def test_an_object_comes_back_as_it_was(s3, size):
    body = random.Random(size).randbytes(size)
    put = s3.put_object(
        Bucket="builder", Key=f"size/{size}", Body=body, ContentType="text/x-test", Metadata={"color": "blue"},
        CacheControl="no-store",
    )
    assert put["ETag"] == f'"{hashlib.md5(body).hexdigest()}"'
    got = s3.get_object(Bucket="builder", Key=f"size/{size}")
    assert got["Body"].read() == body
    assert got["ContentLength"] == size
    assert got["ContentType"] == "text/x-test"
    assert got["CacheControl"] == "no-store"
    assert got["Metadata"] == {"color": "blue"}
    head = s3.head_object(Bucket="builder", Key=f"size/{size}")
    assert head["ContentLength"] == size and head["ETag"] == put["ETag"]


@pytest.mark.parametrize(
    "key",
    ["plain", "with space", "sl/as/hes", "plus+sign", "ünïcode/ключ", "percent%41", "a&b=c?d#e", "~tilde", "trailing/", "x" * 1024,
     "quote'\"<>", "double//slash", "...dots", "c:\\windows"],
)
def test_keys_are_kept_exactly(s3, key):
    s3.put_object(Bucket="builder", Key=key, Body=key.encode())
    assert s3.get_object(Bucket="builder", Key=key)["Body"].read() == key.encode()
    assert key in keys(s3.list_objects_v2(Bucket="builder", Prefix=key))
    s3.delete_object(Bucket="builder", Key=key)
    with pytest.raises(botocore.exceptions.ClientError) as caught:
        s3.get_object(Bucket="builder", Key=key)
    assert error_code(caught) == "NoSuchKey"


def test_a_key_that_is_too_long_is_refused(s3):
    with pytest.raises(botocore.exceptions.ClientError) as caught:
        s3.put_object(Bucket="builder", Key="x" * 1025, Body=b"")
    assert error_code(caught) == "KeyTooLongError"


def test_ranges(s3):
    body = random.Random(1).randbytes(700_000)
    s3.put_object(Bucket="builder", Key="range", Body=body)
    cases = {
        "bytes=0-0": body[:1], "bytes=10-19": body[10:20], "bytes=262143-262144": body[262143:262145],
        "bytes=500000-": body[500000:], "bytes=-5": body[-5:], "bytes=-9999999": body, "bytes=100-9999999": body[100:],
    }
    for header, expected in cases.items():
        got = s3.get_object(Bucket="builder", Key="range", Range=header)
        assert got["Body"].read() == expected, header
        assert got["ResponseMetadata"]["HTTPStatusCode"] == 206
        assert got["ContentRange"].endswith("/700000")
    with pytest.raises(botocore.exceptions.ClientError) as caught:
        s3.get_object(Bucket="builder", Key="range", Range="bytes=700000-")
    assert error_code(caught) == "InvalidRange"


def test_conditions(s3):
    etag = s3.put_object(Bucket="builder", Key="conditions", Body=b"x")["ETag"]
    for wrong in ({"IfMatch": '"nope"'}, {"IfNoneMatch": etag}, {"IfModifiedSince": datetime.datetime.now() + datetime.timedelta(days=2)}):
        with pytest.raises(botocore.exceptions.ClientError) as caught:
            s3.get_object(Bucket="builder", Key="conditions", **wrong)
        assert error_code(caught) in ("PreconditionFailed", "304")
    assert s3.get_object(Bucket="builder", Key="conditions", IfMatch=etag)["Body"].read() == b"x"


def test_a_conditional_put_lets_exactly_one_writer_win(store):
    def put(number):
        client = store.client()
        client.meta.events.register(
            "before-sign.s3.PutObject", lambda request, **_: request.headers.add_header("If-None-Match", "*")
        )
        try:
            client.put_object(Bucket="builder", Key="once", Body=str(number).encode())
            return number
        except botocore.exceptions.ClientError as error:
            assert error.response["Error"]["Code"] == "PreconditionFailed"
            return None

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        winners = [number for number in pool.map(put, range(8)) if number is not None]
    assert len(winners) == 1
    assert store.client().get_object(Bucket="builder", Key="once")["Body"].read() == str(winners[0]).encode()


def test_response_headers_can_be_overridden(s3):
    s3.put_object(Bucket="builder", Key="override", Body=b"x")
    got = s3.get_object(Bucket="builder", Key="override", ResponseContentType="a/b", ResponseContentDisposition="attachment")
    assert got["ContentType"] == "a/b" and got["ContentDisposition"] == "attachment"


def test_checksums_are_verified(s3, store):
    good = base64.b64encode(hashlib.md5(b"body").digest()).decode()
    s3.put_object(Bucket="builder", Key="md5", Body=b"body", ContentMD5=good)
    with pytest.raises(botocore.exceptions.ClientError) as caught:
        s3.put_object(Bucket="builder", Key="md5-bad", Body=b"other", ContentMD5=good)
    assert error_code(caught) == "BadDigest"
    crc = base64.b64encode(zlib.crc32(b"body").to_bytes(4, "big")).decode()
    s3.put_object(Bucket="builder", Key="crc", Body=b"body", ChecksumCRC32=crc)
    assert s3.get_object(Bucket="builder", Key="crc", ChecksumMode="ENABLED")["ChecksumCRC32"] == crc
    sha = base64.b64encode(hashlib.sha256(b"body").digest()).decode()
    s3.put_object(Bucket="builder", Key="sha", Body=b"body", ChecksumSHA256=sha)
    with pytest.raises(botocore.exceptions.ClientError) as caught:
        s3.put_object(Bucket="builder", Key="crc-bad", Body=b"other", ChecksumCRC32=crc)
    assert error_code(caught) == "BadDigest"
    for key in ("md5-bad", "crc-bad"):
        with pytest.raises(botocore.exceptions.ClientError):
            s3.head_object(Bucket="builder", Key=key)


def test_uploads_with_a_checksum_of_the_clients_choice(s3):
    body = random.Random(3).randbytes(900_000)
    s3.put_object(Bucket="builder", Key="trailer", Body=body, ChecksumAlgorithm="CRC32")
    assert s3.get_object(Bucket="builder", Key="trailer")["Body"].read() == body


def test_listing_pages_prefixes_and_delimiters(s3):
    s3.create_bucket(Bucket="listing")
    names = [f"a/{i:03}" for i in range(25)] + [f"b/{i}/c" for i in range(5)] + ["top", "ünder"]
    for name in names:
        s3.put_object(Bucket="listing", Key=name, Body=name.encode())
    everything = sorted(names, key=str.encode)
    for operation in ("list_objects_v2", "list_objects"):
        for size in (1, 3, 7, 1000):
            seen = []
            for page in s3.get_paginator(operation).paginate(Bucket="listing", PaginationConfig={"PageSize": size}):
                seen += keys(page)
            assert seen == everything, (operation, size)
            seen = []
            for page in s3.get_paginator(operation).paginate(
                Bucket="listing", Delimiter="/", PaginationConfig={"PageSize": size}
            ):
                seen += keys(page) + [entry["Prefix"] for entry in page.get("CommonPrefixes", [])]
            assert sorted(seen) == sorted(["a/", "b/", "top", "ünder"]), (operation, size)
    assert keys(s3.list_objects_v2(Bucket="listing", Prefix="a/02")) == [f"a/{i:03}" for i in range(20, 25)]
    assert keys(s3.list_objects_v2(Bucket="listing", StartAfter="b/3/c")) == ["b/4/c", "top", "ünder"]
    deeper = s3.list_objects_v2(Bucket="listing", Prefix="b/", Delimiter="/")
    assert [entry["Prefix"] for entry in deeper["CommonPrefixes"]] == [f"b/{i}/" for i in range(5)]
    gone = s3.delete_objects(Bucket="listing", Delete={"Objects": [{"Key": name} for name in names] + [{"Key": "never"}]})
    assert len(gone["Deleted"]) == len(names) + 1 and "Errors" not in gone
    assert s3.list_objects_v2(Bucket="listing")["KeyCount"] == 0
    s3.delete_bucket(Bucket="listing")


def test_copies(s3):
    s3.put_object(Bucket="builder", Key="from me", Body=b"content" * 100_000, ContentType="a/b", Metadata={"x": "1"})
    s3.copy_object(Bucket="builder", Key="to", CopySource={"Bucket": "builder", "Key": "from me"})
    got = s3.get_object(Bucket="builder", Key="to")
    assert got["Body"].read() == b"content" * 100_000
    assert got["ContentType"] == "a/b" and got["Metadata"] == {"x": "1"}
    s3.copy_object(Bucket="builder", Key="to", CopySource="builder/from me", MetadataDirective="REPLACE", Metadata={"y": "2"})
    assert s3.head_object(Bucket="builder", Key="to")["Metadata"] == {"y": "2"}
    with pytest.raises(botocore.exceptions.ClientError) as caught:
        s3.copy_object(Bucket="builder", Key="to", CopySource="builder/never")
    assert error_code(caught) == "NoSuchKey"


def test_multipart_uploads(s3):
    part = random.Random(5).randbytes(5 << 20)
    begun = s3.create_multipart_upload(Bucket="builder", Key="multi", ContentType="a/b", Metadata={"m": "1"})
    name = {"Bucket": "builder", "Key": "multi", "UploadId": begun["UploadId"]}
    etags = [s3.upload_part(**name, PartNumber=number, Body=body)["ETag"] for number, body in ((1, part), (2, b"the end"))]
    assert [p["Size"] for p in s3.list_parts(**name)["Parts"]] == [5 << 20, 7]
    assert "multi" in [u["Key"] for u in s3.list_multipart_uploads(Bucket="builder")["Uploads"]]
    with pytest.raises(botocore.exceptions.ClientError):
        s3.head_object(Bucket="builder", Key="multi")
    with pytest.raises(botocore.exceptions.ClientError) as caught:
        s3.complete_multipart_upload(**name, MultipartUpload={"Parts": [{"PartNumber": 1, "ETag": '"bad"'}]})
    assert error_code(caught) == "InvalidPart"
    parts = [{"PartNumber": i + 1, "ETag": etag} for i, etag in enumerate(etags)]
    with pytest.raises(botocore.exceptions.ClientError) as caught:
        s3.complete_multipart_upload(**name, MultipartUpload={"Parts": parts[::-1]})
    assert error_code(caught) == "InvalidPartOrder"
    done = s3.complete_multipart_upload(**name, MultipartUpload={"Parts": parts})
    sums = b"".join(hashlib.md5(body).digest() for body in (part, b"the end"))
    assert done["ETag"] == f'"{hashlib.md5(sums).hexdigest()}-2"'
    got = s3.get_object(Bucket="builder", Key="multi")
    assert got["Body"].read() == part + b"the end"
    assert got["ContentType"] == "a/b" and got["Metadata"] == {"m": "1"}
    with pytest.raises(botocore.exceptions.ClientError) as caught:
        s3.upload_part(**name, PartNumber=3, Body=b"late")
    assert error_code(caught) == "NoSuchUpload"


def test_an_upload_of_many_parts(s3):
    """So many that joining them may take long: the answer then begins before its outcome is known."""
    part = random.Random(6).randbytes(5 << 20)
    begun = s3.create_multipart_upload(Bucket="builder", Key="many")
    name = {"Bucket": "builder", "Key": "many", "UploadId": begun["UploadId"]}
    parts = [{"PartNumber": i, "ETag": s3.upload_part(**name, PartNumber=i, Body=part)["ETag"]} for i in range(1, 52)]
    wrong = parts[:-1] + [{"PartNumber": 51, "ETag": '"bad"'}]
    with pytest.raises(botocore.exceptions.ClientError) as caught:
        s3.complete_multipart_upload(**name, MultipartUpload={"Parts": wrong})
    assert error_code(caught) == "InvalidPart"
    done = s3.complete_multipart_upload(**name, MultipartUpload={"Parts": parts})
    assert done["ETag"].endswith('-51"')
    assert s3.head_object(Bucket="builder", Key="many")["ContentLength"] == 51 * (5 << 20)
    s3.delete_object(Bucket="builder", Key="many")


def test_multipart_copies_and_aborts(s3):
    s3.put_object(Bucket="builder", Key="source", Body=bytes(range(256)) * 40_000)
    begun = s3.create_multipart_upload(Bucket="builder", Key="joined")
    name = {"Bucket": "builder", "Key": "joined", "UploadId": begun["UploadId"]}
    parts = []
    for number, first, last in ((1, 0, 6 * 1024 * 1024 - 1), (2, 6 * 1024 * 1024, 256 * 40_000 - 1)):
        copied = s3.upload_part_copy(**name, PartNumber=number, CopySource="builder/source", CopySourceRange=f"bytes={first}-{last}")
        parts.append({"PartNumber": number, "ETag": copied["CopyPartResult"]["ETag"]})
    s3.complete_multipart_upload(**name, MultipartUpload={"Parts": parts})
    assert s3.get_object(Bucket="builder", Key="joined")["Body"].read() == bytes(range(256)) * 40_000
    begun = s3.create_multipart_upload(Bucket="builder", Key="aborted")
    s3.abort_multipart_upload(Bucket="builder", Key="aborted", UploadId=begun["UploadId"])
    with pytest.raises(botocore.exceptions.ClientError) as caught:
        s3.list_parts(Bucket="builder", Key="aborted", UploadId=begun["UploadId"])
    assert error_code(caught) == "NoSuchUpload"


def test_presigned_urls(store, s3):
    s3.put_object(Bucket="builder", Key="pre signed", Body=b"secret")
    params = {"Bucket": "builder", "Key": "pre signed"}
    url = s3.generate_presigned_url("get_object", Params=params, ExpiresIn=60)
    assert urllib.request.urlopen(url).read() == b"secret"
    put = s3.generate_presigned_url("put_object", Params=params, ExpiresIn=60)
    urllib.request.urlopen(urllib.request.Request(put, data=b"changed", method="PUT", headers={"Content-Type": ""}))
    assert urllib.request.urlopen(url).read() == b"changed"
    short = s3.generate_presigned_url("get_object", Params=params, ExpiresIn=1)
    time.sleep(2.1)
    for refused in (short, url.replace("X-Amz-Signature=", "X-Amz-Signature=0"), url.split("?")[0]):
        with pytest.raises(urllib.error.HTTPError) as caught:
            urllib.request.urlopen(refused)
        assert caught.value.code == 403


def test_wrong_credentials_are_refused(store):
    for client, code in (
        (store.client(secret="wrong"), "SignatureDoesNotMatch"),
        (store.client(access="nobody"), "InvalidAccessKeyId"),
    ):
        with pytest.raises(botocore.exceptions.ClientError) as caught:
            client.list_buckets()
        assert error_code(caught) == code


def test_health_and_metrics_need_no_credentials(store):
    assert urllib.request.urlopen(store.url + "/healthz").read() == b"ok\n"
    metrics = urllib.request.urlopen(store.url + "/metrics").read().decode()
    assert "objectstore_objects " in metrics and 'pattern="PutObject"' in metrics


def test_what_is_not_offered_is_said(s3):
    for call, code in (
        (lambda: s3.get_bucket_policy(Bucket="builder"), "NoSuchBucketPolicy"),
        (lambda: s3.put_bucket_versioning(Bucket="builder", VersioningConfiguration={"Status": "Enabled"}), "NotImplemented"),
        (lambda: s3.put_object(Bucket="builder", Key="e", Body=b"", ServerSideEncryption="AES256"), "NotImplemented"),
    ):
        with pytest.raises(botocore.exceptions.ClientError) as caught:
            call()
        assert error_code(caught) == code


@pytest.mark.skipif(shutil.which("s3cmd") is None, reason="s3cmd is not installed")
def test_s3cmd(store, tmp_path):
    config = tmp_path / "s3cfg"
    host = f"127.0.0.1:{store.port}"
    config.write_text(
        f"[default]\naccess_key={ACCESS}\nsecret_key={SECRET}\nhost_base={host}\nhost_bucket={host}\n"
        "use_https=False\nsignature_v2=False\nmultipart_chunk_size_mb=5\n"
    )
    big = tmp_path / "big file"
    big.write_bytes(random.Random(9).randbytes(12 << 20))
    s3cmd = ["s3cmd", "-c", config]
    run(*s3cmd, "mb", "s3://cmd-bucket")
    run(*s3cmd, "put", big, "s3://cmd-bucket/dir/big file")
    listing = run(*s3cmd, "ls", "-r", "s3://cmd-bucket").stdout
    assert "s3://cmd-bucket/dir/big file" in listing and str(12 << 20) in listing
    run(*s3cmd, "get", "s3://cmd-bucket/dir/big file", tmp_path / "back")
    assert (tmp_path / "back").read_bytes() == big.read_bytes()
    run(*s3cmd, "cp", "s3://cmd-bucket/dir/big file", "s3://cmd-bucket/copy")
    run(*s3cmd, "info", "s3://cmd-bucket/copy")
    run(*s3cmd, "del", "-r", "-f", "s3://cmd-bucket")
    run(*s3cmd, "rb", "s3://cmd-bucket")


def test_everything_survives_a_restart(own_store):
    client = own_store.client()
    body = random.Random(2).randbytes(1_000_000)
    put = client.put_object(Bucket="builder", Key="kept/ü", Body=body, ContentType="a/b", Metadata={"a": "b"})
    client.create_bucket(Bucket="another")
    upload = client.create_multipart_upload(Bucket="builder", Key="half")["UploadId"]
    client.upload_part(Bucket="builder", Key="half", UploadId=upload, PartNumber=1, Body=b"x")
    own_store.kill()
    (own_store.data / "tmp" / "half-written").write_bytes(b"left by a crash")
    own_store.start()
    got = client.get_object(Bucket="builder", Key="kept/ü")
    assert got["Body"].read() == body and got["ETag"] == put["ETag"] and got["Metadata"] == {"a": "b"}
    assert keys(client.list_objects_v2(Bucket="builder")) == ["kept/ü"]
    assert {bucket["Name"] for bucket in client.list_buckets()["Buckets"]} == {"builder", "another"}
    assert len(client.list_parts(Bucket="builder", Key="half", UploadId=upload)["Parts"]) == 1
    assert list((own_store.data / "tmp").iterdir()) == []


def test_kill_9_in_the_middle_of_puts_loses_nothing_acknowledged(own_store):
    """Each round, writers overwrite keys while the server dies. Whatever was acknowledged is there afterwards, whole; a
    write that was under way is there completely or not at all."""
    rng = random.Random(11)
    acknowledged, attempted = {}, {}

    def write(worker):
        client = own_store.client()
        for turn in range(1000):
            key = f"k{worker}/{turn % 5}"
            body = (f"{worker}-{turn}-{rng.random()}-".encode() * 5000)[: rng.choice([10, 4096, 100_000])]
            attempted[key] = body
            try:
                client.put_object(Bucket="builder", Key=key, Body=body)
            except (botocore.exceptions.BotoCoreError, botocore.exceptions.ClientError):
                return
            acknowledged[key] = body

    for _ in range(4):
        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            writers = [pool.submit(write, worker) for worker in range(4)]
            time.sleep(0.4 + rng.random() * 0.3)
            own_store.kill()
            for writer in writers:
                writer.result()
        own_store.start()
        client = own_store.client()
        listed = set(keys(client.list_objects_v2(Bucket="builder")))
        assert set(acknowledged) <= listed
        for key in listed:
            body = client.get_object(Bucket="builder", Key=key)["Body"].read()
            assert body in (acknowledged.get(key), attempted[key]), key
            acknowledged[key] = body
    assert acknowledged


def object_files(server):
    return [path for path in (server.data / "buckets").rglob("*") if path.is_file() and len(path.name) == 64]


def flip_byte(path, offset):
    with path.open("r+b") as file:
        file.seek(offset)
        byte = file.read(1)
        file.seek(offset)
        file.write(bytes([byte[0] ^ 1]))


def test_a_changed_byte_on_disk_is_never_served(own_store):
    client = own_store.client()
    body = random.Random(4).randbytes(3 << 20)
    client.put_object(Bucket="builder", Key="damaged", Body=body)
    (path,) = object_files(own_store)
    flip_byte(path, 100)
    with pytest.raises(botocore.exceptions.ClientError) as caught:
        client.get_object(Bucket="builder", Key="damaged")
    assert error_code(caught) == "InternalError"
    flip_byte(path, 100)
    flip_byte(path, (2 << 20) + 5)
    got = client.get_object(Bucket="builder", Key="damaged", Range="bytes=0-999")
    assert got["Body"].read() == body[:1000]  # the part that is sound
    with pytest.raises((botocore.exceptions.BotoCoreError, Exception)) as caught:
        client.get_object(Bucket="builder", Key="damaged")["Body"].read()
    assert not isinstance(caught.value, AssertionError)
    with pytest.raises(botocore.exceptions.ClientError) as caught:
        client.copy_object(Bucket="builder", Key="copy", CopySource="builder/damaged")
    assert error_code(caught) == "InternalError"
    assert "an object is damaged" in own_store.log.read_text()
    client.put_object(Bucket="builder", Key="damaged", Body=b"new")
    assert client.get_object(Bucket="builder", Key="damaged")["Body"].read() == b"new"


@pytest.mark.parametrize("where", ["description", "cut"])
def test_a_damaged_description_is_found_at_start_and_can_be_deleted(own_store, where):
    client = own_store.client()
    client.put_object(Bucket="builder", Key="damaged", Body=b"x" * 1000)
    client.put_object(Bucket="builder", Key="sound", Body=b"y")
    path = max(object_files(own_store), key=lambda p: p.stat().st_size)
    own_store.stop()
    if where == "cut":
        os.truncate(path, 500)
    else:
        flip_byte(path, 1010)
    own_store.start()
    assert keys(client.list_objects_v2(Bucket="builder")) == ["sound"]
    with pytest.raises(botocore.exceptions.ClientError) as caught:
        client.get_object(Bucket="builder", Key="damaged")
    assert error_code(caught) == "InternalError"  # not NoSuchKey: that would be a lie
    assert b"objectstore_damaged_objects 1" in urllib.request.urlopen(own_store.url + "/metrics").read()
    client.delete_object(Bucket="builder", Key="damaged")
    with pytest.raises(botocore.exceptions.ClientError) as caught:
        client.get_object(Bucket="builder", Key="damaged")
    assert error_code(caught) == "NoSuchKey"


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a tmpfs needs root")
def test_a_full_disk_is_said_and_breaks_nothing(tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    run("mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", disk)
    server = None
    try:
        server = ObjectStore(tmp_path, data=disk / "objects")
        client = server.client()
        client.put_object(Bucket="builder", Key="fits", Body=b"x" * (1 << 20))
        with pytest.raises(botocore.exceptions.ClientError) as caught:
            client.put_object(Bucket="builder", Key="too big", Body=b"x" * (8 << 20))
        assert error_code(caught) == "InsufficientStorage"
        assert "full" in caught.value.response["Error"]["Message"]
        assert client.get_object(Bucket="builder", Key="fits")["Body"].read() == b"x" * (1 << 20)
        client.put_object(Bucket="builder", Key="fits too", Body=b"x" * (1 << 20))  # what failed took no room
        assert keys(client.list_objects_v2(Bucket="builder")) == ["fits", "fits too"]
    finally:
        if server:
            server.stop()
        run("umount", disk)


def test_a_broken_upload_leaves_nothing(own_store):
    client = own_store.client()
    url = client.generate_presigned_url("put_object", Params={"Bucket": "builder", "Key": "broken"}, ExpiresIn=60)
    path = url.split(str(own_store.port), 1)[1]
    with socket.create_connection(("127.0.0.1", own_store.port)) as connection:
        head = f"PUT {path} HTTP/1.1\r\nHost: 127.0.0.1:{own_store.port}\r\nContent-Length: 3000000\r\n\r\n"
        connection.sendall(head.encode() + b"x" * 1_500_000)
    wait_for(lambda: list((own_store.data / "tmp").iterdir()) == [], what="the half-received file is removed")
    assert client.list_objects_v2(Bucket="builder")["KeyCount"] == 0


def test_bad_settings_are_all_named(tmp_path):
    done = subprocess.run(
        [WORKFLOW, "objectstore"], env={"OBJECTSTORE_PORT": "many", "OBJECTSTORE_BUCKETS": "No_Good", "S3_SECRET_KEY": "x"},
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=10,
    )
    assert done.returncode == 1
    for name in ("OBJECTSTORE_PORT", "OBJECTSTORE_BUCKETS", "S3_ACCESS_KEY"):
        assert name in done.stdout


def test_a_taken_port_is_named(own_store, tmp_path):
    other = dict(own_store.environment, OBJECTSTORE_DIR=str(tmp_path / "other"))
    done = subprocess.run([WORKFLOW, "objectstore"], env=other, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=10)
    assert done.returncode == 1 and str(own_store.port) in done.stdout
