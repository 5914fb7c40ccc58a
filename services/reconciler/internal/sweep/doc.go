// Package sweep owns one pass of the reconciler over everything that is due.
package sweep
