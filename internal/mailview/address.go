package mailview

// An Address is who wrote or receives a message.
type Address struct {
	Name string // decoded, on one line; may be empty
	// Addr is the address: its domain in Unicode if all its letters are of one
	// script, and else in A-labels ("xn--..."). Empty for a group.
	Addr string
	// Suspicious says that it is made to look like another: letters of scripts that
	// look alike, characters that are not seen or turn the text round, or a name
	// that is itself the address of somebody else. Then show Addr beside Name.
	Suspicious bool
}

// String returns the address as it is typed into a field: "Ann Smith <ann@example.org>".
func (a Address) String() string { return "" }
