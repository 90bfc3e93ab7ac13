package blob

// A Fault is damage to what a Store keeps its blobs in. It is for people, and for who
// compares all that is kept.
type Fault struct {
	Ref  Ref // of the blob that is damaged; empty if it is none, or nobody can tell
	Text string
	// Repaired says that it is as it was written again.
	Repaired bool
	// Kept says that it costs nothing and stays as it is: bytes that are not
	// needed, or of which nobody can tell what they were.
	Kept bool
}
