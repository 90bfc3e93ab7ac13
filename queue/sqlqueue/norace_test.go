//go:build !race

package sqlqueue_test

const many = 100_000
