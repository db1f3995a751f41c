// Package newer has the library calls of runtime-tools that Go 1.19 lacks.
package newer

import (
	"strings"
	"sync"
)

// OnceValue is sync.OnceValue of Go 1.21.
func OnceValue[A any](find func() A) func() A {
	var (
		once  sync.Once
		value A
	)
	return func() A {
		once.Do(func() { value = find() })
		return value
	}
}

// OnceValues is sync.OnceValues of Go 1.21.
func OnceValues[A, B any](find func() (A, B)) func() (A, B) {
	var (
		once   sync.Once
		first  A
		second B
	)
	return func() (A, B) {
		once.Do(func() { first, second = find() })
		return first, second
	}
}

// CutPrefix is strings.CutPrefix of Go 1.20.
func CutPrefix(text, prefix string) (string, bool) {
	return strings.TrimPrefix(text, prefix), strings.HasPrefix(text, prefix)
}
