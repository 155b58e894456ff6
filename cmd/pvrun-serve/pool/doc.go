// Package pool has functions answer messages: each by clones of one snapshot, which
// are made ahead of demand, used for one invocation and rewound, or used again as they
// are. Invocations wait in a bounded queue for a clone, first in first out, and then
// for a turn to run, which functions get in turn, so that one that has many
// invocations does not starve the others.
//
// It knows nothing of HTTP, and of machines no more than Source and Machine say.
package pool
