"""Puts an electronic seal on documents (PAdES B-B, ETSI EN 319 142-1) when a key is configured; off by default.

A seal shows that the document was not changed since. It proves more than the hash in the register only when readers
trust the certificate of its key.
"""

import asyncio
import contextlib
from collections.abc import Callable
from io import BytesIO
from typing import Any, Final, Self

from workers.errors import NotConfigured
from workers.settings import Settings

FIELD: Final = "Matricule"
"""The name of the signature field, which is invisible."""

PKCS11: Final = ("seal_pkcs11_module", "seal_pkcs11_token", "seal_pkcs11_key", "seal_pkcs11_pin")


class Sealer:
    """Seals the documents of one thread. Its signer is made at the first one, because pyHanko takes a second to load.

    Parameters:
      make_signer: opens the file or the device.
    """

    def __init__(self, make_signer: Callable[[], Any]) -> None:
        self._make_signer = make_signer
        self._signer: Any = None

    @classmethod
    def from_settings(cls, settings: Settings) -> Self | None:
        """Returns the seal of this installation; None when none is configured.

        Raises: NotConfigured naming the missing settings, when only some of them are there.
        """
        device = {name: getattr(settings, name) for name in PKCS11}
        if settings.seal_pkcs12 and any(device.values()):
            raise NotConfigured("SEAL_PKCS12 and SEAL_PKCS11_MODULE name two keys: keep one")
        if settings.seal_pkcs12:
            return cls(lambda: _from_file(settings))
        if not any(device.values()):
            return None
        if missing := [name.upper() for name, value in device.items() if not value]:
            raise NotConfigured(f"{', '.join(missing)} missing: a key in a device needs module, token, key and PIN")
        return cls(lambda: _from_device(settings))

    def seal(self, document: bytes) -> bytes:
        """Returns the document with an invisible seal that allows no change. Its bytes differ each time.

        Raises: NotConfigured when the key cannot be used.
        """
        if self._signer is None:
            self._signer = _needing_package(self._make_signer)
        sealed: bytes = _needing_package(lambda: _seal(document, self._signer))
        return sealed


def _needing_package(step: Callable[[], Any]) -> Any:
    try:
        return step()
    except ImportError as error:
        raise NotConfigured(
            f"a seal is configured, and {error.name} is not installed: pip install matricule[seal]"
        ) from None


def _from_file(settings: Settings) -> Any:
    from pyhanko.sign import signers  # noqa: PLC0415 - takes a second, and is an option

    password = settings.seal_password.encode() or None
    load: Any = signers.SimpleSigner.load_pkcs12
    signer = None
    with contextlib.suppress(OSError):
        signer = load(settings.seal_pkcs12, passphrase=password)
    if signer is None:
        raise NotConfigured("SEAL_PKCS12 cannot be read: is it there, and does SEAL_PASSWORD open it?")
    return signer


def _from_device(settings: Settings) -> Any:
    import pkcs11  # noqa: PLC0415
    from pyhanko.config.pkcs11 import TokenCriteria  # noqa: PLC0415
    from pyhanko.sign.pkcs11 import PKCS11Signer, open_pkcs11_session  # noqa: PLC0415

    try:
        session = open_pkcs11_session(
            settings.seal_pkcs11_module,
            token_criteria=TokenCriteria(label=settings.seal_pkcs11_token),
            user_pin=settings.seal_pkcs11_pin,
        )
    except (pkcs11.PKCS11Error, OSError, RuntimeError) as error:
        raise NotConfigured(f"the device of SEAL_PKCS11_MODULE cannot be opened: {type(error).__name__}") from None
    label = settings.seal_pkcs11_key
    # The digest is made here, because not every device can hash and sign in one step.
    return PKCS11Signer(session, cert_label=label, key_label=label, use_raw_mechanism=True)


def _seal(document: bytes, signer: Any) -> bytes:
    from pyhanko.pdf_utils.incremental_writer import IncrementalPdfFileWriter  # noqa: PLC0415
    from pyhanko.sign import fields, signers  # noqa: PLC0415

    # PDF/A requires a line end after the last %%EOF before another revision is appended (ISO 19005-2, 6.1.9).
    writer = IncrementalPdfFileWriter(BytesIO(document + b"\n"))
    metadata = signers.PdfSignatureMetadata(
        field_name=FIELD,
        md_algorithm="sha256",
        subfilter=fields.SigSeedSubFilter.PADES,
        certify=True,
        docmdp_permissions=fields.MDPPerm.NO_CHANGES,
    )
    # The field is printable, as PDF/A requires of every annotation, and outside the page, where PDF/UA requires nothing
    # of it (7.18.1).
    where = fields.InvisSigSettings(set_print_flag=True, set_hidden_flag=False, box_out_of_bounds=True)
    field = fields.SigFieldSpec(FIELD, invis_sig_settings=where, readable_field_name=FIELD)
    sealer = signers.PdfSigner(metadata, signer=signer, new_field_spec=field)
    output = BytesIO()
    asyncio.run(sealer.async_sign_pdf(writer, output=output))
    return output.getvalue()
