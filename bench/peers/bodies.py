"""The contract's placement as Pydantic models: the same bounds and patterns."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints
from pydantic.alias_generators import to_camel

_STATES = (
    "AA|AE|AK|AL|AP|AR|AS|AZ|CA|CO|CT|DC|DE|FL|FM|GA|GU|HI|IA|ID|IL|IN|KS|KY|LA|MA|MD|ME|MH|MI|MN|MO|MP|MS|MT|NC|ND|NE"
    "|NH|NJ|NM|NV|NY|OH|OK|OR|PA|PR|PW|RI|SC|SD|TN|TX|UT|VA|VI|VT|WA|WI|WV|WY"
)
_DAYS = (
    "((19|20)[0-9]{2}-((0[13578]|1[02])-(0[1-9]|[12][0-9]|3[01])|(0[469]|11)-(0[1-9]|[12][0-9]|30)"
    "|02-(0[1-9]|1[0-9]|2[0-8]))|((19|20)(0[48]|[2468][048]|[13579][26])|2000)-02-29)"
)
_TIMES = r"([Tt]([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](\.[0-9]{1,9})?([Zz]|[+-]([01][0-9]|2[0-3]):[0-5][0-9]))?"

_UNSEEN = r"\x7F-\x9F\u2027-\u202E\u2065-\u206A"
_BLANK = (
    r"\x00-\x20\x7F-\xA0\xAD\u115F\u1160\u1680\u180E\u2000-\u2010\u2027-\u202F\u205F-\u206F\u3000\u3164\uFEFF\uFFA0"
)
Line = Annotated[
    str,
    StringConstraints(
        min_length=1, max_length=100, pattern=rf"^[^\x00-\x1F{_UNSEEN}]*[^{_BLANK}][^\x00-\x1F{_UNSEEN}]*$"
    ),
]
Text = Annotated[str, StringConstraints(max_length=2000, pattern=rf"^[^\x00-\x08\x0B\x0C\x0E-\x1F{_UNSEEN}]*$")]
Slug = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._~-]{0,63}$")]
Email = Annotated[
    str,
    StringConstraints(
        max_length=254,
        pattern=r"^[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]{1,64}(\.[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]{1,64}){0,8}@"
        r"([A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.){1,8}([A-Za-z]{2,24}|[Xx][Nn]--[A-Za-z0-9-]{1,59})$",
    ),
]
PhoneNumber = Annotated[str, StringConstraints(max_length=20, pattern=r"^\+?[(]?[0-9]([ ().-]{0,3}[0-9]){6,19}$")]
Date = Annotated[str, StringConstraints(pattern=f"^{_DAYS}{_TIMES}$")]
Key = Annotated[str, StringConstraints(pattern=r"^[\x21-\x7E]{1,255}$")]
Quantity = Annotated[
    str,
    StringConstraints(
        pattern=r"^([1-9][0-9]{0,6}(\.[0-9]{1,4})?|0\.([1-9][0-9]{0,3}|0[1-9][0-9]{0,2}|00[1-9][0-9]?|000[1-9]))$"
    ),
]


class Body(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, alias_generator=to_camel)


class Address(Body):
    address_line1: Line
    address_line2: Line | None = None
    city: Line
    state: Annotated[str, StringConstraints(pattern=f"^({_STATES})$")]
    country: Annotated[str, StringConstraints(pattern="^[A-Za-z]{2}$")]
    postal_code: Annotated[str, StringConstraints(pattern="^[0-9]{5}$")]


class PatientHealthInfo(Body):
    allergies: Text | None = None
    health_conditions: Text | None = None
    current_medications: Text | None = None


class Prescriber(Body):
    first_name: Line
    last_name: Line
    title: Line | None = None
    title_suffix: Line | None = None
    npi: Annotated[str, StringConstraints(pattern="^[0-9]{10}$")]
    dea: Annotated[str, StringConstraints(pattern="^[A-Za-z][A-Za-z9][0-9]{7}$")] | None = None
    email: Email
    phone_number: PhoneNumber
    address: Address


class PrescriptionItem(Body):
    drug_id: Slug
    direction: Text | None = None
    quantity: Quantity
    refill_count: Annotated[int, Field(ge=0, le=99)] | None = None
    supply_days: Annotated[int, Field(ge=1, le=365)] | None = None
    custom_fields: Annotated[dict[str, Any], Field(max_length=50)] | None = None


class NewOrder(Body):
    shipping_address: Address | None = None
    patient_health_info: PatientHealthInfo | None = None
    prescriber: Prescriber
    diagnosis: Line
    pharmacy_id: Slug
    date_written: Date | None = None
    date_signed: Date | None = None
    date_prescribed: Date | None = None
    prescription_items: Annotated[list[PrescriptionItem], Field(min_length=1, max_length=100)]


class CaseAction(Body):
    action: Literal["PLACE_ORDER"]
    idempotency_key: Key | None = None
    order: NewOrder
