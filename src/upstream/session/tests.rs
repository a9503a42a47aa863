// The tests of the session.
