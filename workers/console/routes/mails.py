"""The pages of the console on mails."""

from fastapi import APIRouter

router = APIRouter()
