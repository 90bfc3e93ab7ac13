// Package searchondisk tests package store/search over an index on disk, for the
// reason that package smtpondisk has.
package searchondisk
