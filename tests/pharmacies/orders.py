"""Orders in the shape of the pharmacy protocol."""

import uuid
from typing import Any

ADDRESS = {
    "addressLine1": "123 Main St",
    "city": "San Francisco",
    "state": "CA",
    "country": "US",
    "postalCode": "94105",
}


def item(drug_id: str = "drug-456", **changes: Any) -> dict[str, Any]:
    return {
        "drugId": drug_id,
        "name": "Lisinopril",
        "strength": "10 mg",
        "form": "tablet",
        "ndc": "0093-1039-01",
        "direction": "Take 1 tablet daily with food",
        "quantity": "30",
        "refillCount": 3,
        "supplyDays": 28,
    } | changes


def order(*drug_ids: str, callback_url: str = "http://127.0.0.1:9/", **changes: Any) -> dict[str, Any]:
    return {
        "orderId": str(uuid.uuid4()),
        "callbackUrl": callback_url,
        "placedAt": "2024-01-16T10:30:00Z",
        "patient": {
            "firstName": "Jane",
            "lastName": "Doe",
            "dateOfBirth": "1988-04-02",
            "address": ADDRESS,
        },
        "shippingAddress": ADDRESS,
        "patientHealthInfo": {"allergies": "Penicillin"},
        "prescriber": {
            "firstName": "John",
            "lastName": "Smith",
            "title": "Dr.",
            "titleSuffix": "MD",
            "npi": "1234567893",
            "dea": "AP5836727",
            "email": "john.smith@example.com",
            "phoneNumber": "+14155550100",
            "address": ADDRESS | {"addressLine1": "456 Medical Center Dr"},
        },
        "diagnosis": "Hypertension",
        "dateWritten": "2024-01-15",
        "items": [item(drug_id) for drug_id in drug_ids or ("drug-456",)],
    } | changes
