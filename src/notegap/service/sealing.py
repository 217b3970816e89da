"""Keys at work: encrypting what is kept, and seals that nobody without the key can make."""

from __future__ import annotations

import hmac
import os
from functools import lru_cache
from hashlib import sha256

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from notegap.config import KeyRing
from notegap.errors import StoreError

_NONCE = 12


def encrypt(keys: KeyRing, data: bytes, *, bound_to: str) -> tuple[str, bytes]:
    """The id of the key in use, and `data` encrypted with it so that it can only be read as what it is `bound_to`."""
    key_id, key = keys.current
    nonce = os.urandom(_NONCE)
    return key_id, nonce + AESGCM(derived(key, "encryption")).encrypt(nonce, data, bound_to.encode())


def decrypt(keys: KeyRing, key_id: str, data: bytes, *, bound_to: str) -> bytes:
    """What `encrypt` was given.

    Raises StoreError when the key is not there any more, or when anything about it was changed.
    """
    key = keys.get(key_id)
    if key is None:
        raise StoreError(f"the key '{key_id}' that something kept was encrypted with is not among 'database.keys'")
    try:
        return AESGCM(derived(key, "encryption")).decrypt(data[:_NONCE], data[_NONCE:], bound_to.encode())
    except InvalidTag:
        raise StoreError(
            f"something kept was changed, or '{key_id}' is another key than it was encrypted with"
        ) from None


def seal(key: bytes, purpose: str, data: bytes) -> str:
    """A keyed hash (HMAC-SHA256): who has not the key can neither make it nor guess from it what was hashed."""
    return hmac.new(derived(key, purpose), data, sha256).hexdigest()


@lru_cache(maxsize=64)
def derived(key: bytes, purpose: str) -> bytes:
    """A key of its own for each purpose, so that none says anything of another."""
    return HKDF(algorithm=SHA256(), length=32, salt=None, info=f"notegap {purpose}".encode()).derive(key)
