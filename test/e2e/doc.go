// Package e2e tests the pvrun command as its user meets it: it builds the
// binary, gives it packages, images, files and signals, and compares what
// programs do in a machine with what their native builds do, byte for byte.
// The programs are those of images/ and of programs/.
package e2e
