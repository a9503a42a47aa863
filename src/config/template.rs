//! Text with `${credential:NAME}`, `${env:NAME}` and `${file:PATH}` in it.
