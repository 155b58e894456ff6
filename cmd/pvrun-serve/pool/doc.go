// Package pool has functions answer messages and requests: each by clones of one
// snapshot, which are made ahead of demand, used for one invocation and rewound, or used
// again as they are, for several requests at a time where that is wanted. Invocations
// wait in a bounded queue for a clone, first in first out, and then for a turn to run,
// which functions get in turn, so that one that has many invocations does not starve the
// others.
//
// Of HTTP it knows no more than http.RoundTripper, and of machines no more than Source
// and Machine say.
package pool
