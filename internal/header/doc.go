// Package header reads and edits the header of a message without losing a byte:
// what it does not understand it passes on as it came.
//
// Where a header ends is decided by Colon, Blank, Folded and Mbox, here and in
// internal/message alike.
package header
