// Package binary links the testing package.
package binary

// want: keep test helpers in packages named
import _ "testing"
