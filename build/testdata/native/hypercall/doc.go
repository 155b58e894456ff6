// Package hypercall stands for the contract in tests of the builder.
package hypercall
