"""The pages of the console on errors."""

from fastapi import APIRouter

router = APIRouter()
