// Package sensitive finds the instructions in machine code of 64-bit mode that
// a virtual machine cannot leave to the real CPU: Popek and Goldberg's
// sensitive instructions (Intel SDM volumes 2 and 3; Robin and Irvine,
// "Analysis of the Intel Pentium's Ability to Support a Secure Virtual Machine
// Monitor", has those that do not trap).
//
// The code is hostile input. Work is linear in its size, nothing is kept but
// what is returned, and how much that is has a limit.
package sensitive
