// Package secrettest is the suite that every secret.Driver passes, alone and
// under secret.Secrets, and the check that a value shows itself nowhere.
package secrettest
