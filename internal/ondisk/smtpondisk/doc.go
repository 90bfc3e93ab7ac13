// Package smtpondisk tests package smtp over the backends that keep mail on disk. The
// tests of package smtp itself use those in memory, so that who requires it, or package
// mailtest, has no database driver among the modules of go.sum.
package smtpondisk
