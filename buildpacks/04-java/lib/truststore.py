"""truststore.py CERTIFICATES.pem TARGET: certificates as Java reads them, a key store of the type JKS."""

import hashlib
import re
import ssl
import struct
import sys

PASSWORD = "changeit"  # Java's own; the store holds nothing secret


def utf(text):
    return struct.pack(">H", len(text)) + text.encode()


def main():
    source, target = sys.argv[1:]
    with open(source) as file:
        found = re.findall("-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----", file.read(), re.S)
    store = struct.pack(">III", 0xFEEDFEED, 2, len(found))
    for number, text in enumerate(found):
        certificate = ssl.PEM_cert_to_DER_cert(text)
        store += struct.pack(">I", 2) + utf(f"certificate-{number}") + struct.pack(">Q", 0) + utf("X.509")
        store += struct.pack(">I", len(certificate)) + certificate
    seal = hashlib.sha1(PASSWORD.encode("utf-16-be") + b"Mighty Aphrodite" + store).digest()
    with open(target, "wb") as file:
        file.write(store + seal)


main()
