package mailview

import "errors"

var errNotYet = errors.New("mailview: not built yet")
