// Package slices has what runtime-tools uses of the package that Go has had since 1.21.
package slices

// Contains tells whether value is in the list.
func Contains[E comparable](list []E, value E) bool {
	for _, element := range list {
		if element == value {
			return true
		}
	}
	return false
}

// DeleteFunc removes the elements for which unwanted is true; it works in place.
func DeleteFunc[S ~[]E, E any](list S, unwanted func(E) bool) S {
	kept := list[:0]
	for _, element := range list {
		if !unwanted(element) {
			kept = append(kept, element)
		}
	}
	return kept
}
