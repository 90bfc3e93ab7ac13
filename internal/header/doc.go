// Package header reads and edits the header of a message without losing a byte:
// what it does not understand it passes on as it came.
package header
