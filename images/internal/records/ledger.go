package records

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// Transaction n moves an amount from one account to another, writes an entry whose
// content follows from n, removes the entry of transaction n-kept, and counts: all
// that the database has then follows from the number of transactions. No key of a
// line begins like these.
const (
	ledgerKeys = "!"
	lastKey    = "!last"
	accounts   = 64
	kept       = 1000 // entries
)

func entryKey(n uint64) string { return fmt.Sprintf("!entry %012d", n) }

func accountKey(i uint64) string { return fmt.Sprintf("!account %02d", i) }

// ledger is the state after some transactions.
type ledger struct {
	last     uint64
	balances [accounts]int64
}

// newLedger goes on where the database ends.
func newLedger(s Store) (*ledger, error) {
	text, err := get(s, lastKey)
	if errors.Is(err, errNone) {
		return &ledger{}, nil
	}
	if err != nil {
		return nil, err
	}
	last, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		return nil, fmt.Errorf("record %q: %w", lastKey, err)
	}
	return ledgerAt(last), nil
}

// ledgerAt is the state that n transactions lead to.
func ledgerAt(n uint64) *ledger {
	l := &ledger{}
	for l.last < n {
		l.move()
	}
	return l
}

// move is what the next transaction does to the balances.
func (l *ledger) move() (from, to uint64) {
	l.last++
	r := mix(l.last)
	from = r % accounts
	to = (from + 1 + r>>8%(accounts-1)) % accounts
	amount := int64(r >> 40)
	l.balances[from] -= amount
	l.balances[to] += amount
	return from, to
}

// commit commits the next transaction.
func (l *ledger) commit(s Store) error {
	from, to := l.move()
	changes := []Change{
		put(lastKey, strconv.FormatUint(l.last, 10)),
		put(entryKey(l.last), entry(l.last)),
		l.account(from), l.account(to),
	}
	if l.last > kept {
		changes = append(changes, Change{Key: entryKey(l.last - kept)})
	}
	if err := s.Update(changes); err != nil {
		return fmt.Errorf("commit %d: %w", l.last, err)
	}
	return nil
}

func (l *ledger) account(i uint64) Change {
	return put(accountKey(i), strconv.FormatInt(l.balances[i], 10))
}

// entry is text that follows from n: mostly short, now and then of many pages.
func entry(n uint64) string {
	r := mix(n ^ 0xe)
	size := 20 + r%200
	if r>>32%16 == 0 {
		size = r >> 40 % 20_000
	}
	var b strings.Builder
	for i := uint64(0); uint64(b.Len()) < size; i++ {
		fmt.Fprintf(&b, "%016x ", mix(n<<20+i))
	}
	return b.String()
}

// mix spreads n over 64 bits (the finalizer of SplitMix64).
func mix(n uint64) uint64 {
	n = (n ^ n>>30) * 0xbf58476d1ce4e5b9
	n = (n ^ n>>27) * 0x94d049bb133111eb
	return n ^ n>>31
}

// records is all that a ledger's transactions leave in a database.
func (l *ledger) records() map[string]string {
	all := map[string]string{}
	if l.last == 0 {
		return all
	}
	all[lastKey] = strconv.FormatUint(l.last, 10)
	for n := l.last; n > 0 && n+kept > l.last; n-- {
		all[entryKey(n)] = entry(n)
	}
	used := map[uint64]bool{}
	for again := (&ledger{}); again.last < l.last && len(used) < accounts; {
		from, to := again.move()
		used[from], used[to] = true, true
	}
	for i := range used {
		all[accountKey(i)] = strconv.FormatInt(l.balances[i], 10)
	}
	return all
}
