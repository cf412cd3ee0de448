"""The pages of the console on actions."""

from fastapi import APIRouter

router = APIRouter()
