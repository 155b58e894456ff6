// Package function tests snapshots and messages as a user of the pvrun command meets
// them.
package function
