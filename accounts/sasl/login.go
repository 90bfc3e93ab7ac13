package sasl

// login is the mechanism LOGIN (draft-murchison-sasl-login), which has no
// standard, but clients that know nothing better.
type login struct {
	*exchange
	user  string
	asked bool // for the password
}

func (l *login) Next(response []byte) (challenge []byte, done bool, err error) {
	switch {
	case l.asked:
		err = l.check("", l.user, string(response))
		return nil, err == nil, err
	case response == nil:
		return []byte("Username:"), false, nil
	}
	if len(response) > 0 && !name(string(response)) { // it is held while the password is waited for
		return nil, false, ErrMalformed
	}
	l.user, l.asked = string(response), true
	return []byte("Password:"), false, nil
}
