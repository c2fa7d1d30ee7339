package deadletter

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/kefuhq/kefu/internal/broker"
)

const (
	acknowledgedPrefix = "acknowledged." // and the ID of a group
	// acknowledgedKeep is as long as letters are kept.
	acknowledgedKeep = 30 * 24 * time.Hour
)

// Acknowledgement says that somebody looks after a group. It covers the letters that died before
// it: with the next one the group is open again.
type Acknowledgement struct {
	By   string    `json:"by"`
	At   time.Time `json:"at"`
	Note string    `json:"note,omitempty"`
}

// Covers says whether all letters of a group died before.
func (a Acknowledgement) Covers(g Group) bool { return !g.Last.After(a.At) }

// Acknowledge notes that somebody looks after a group, and writes that to the audit.
func (b *Box) Acknowledge(ctx context.Context, group string, a Acknowledgement) error {
	if !IsGroup(group) {
		return fmt.Errorf("%q is no group such as 7fb47d95", group)
	}
	body, err := json.Marshal(a)
	if err != nil {
		return err
	}
	entry := broker.AuditEntry{Actor: a.By, Verb: "acknowledge", Filter: "group=" + group, Detail: a.Note}
	if err := b.conn.Audit(ctx, entry); err != nil {
		return err
	}
	m := broker.PutState(acknowledgedPrefix+group, body, acknowledgedKeep)
	return b.conn.SaveState(ctx, m)
}

// Reopen takes an acknowledgement back. found is false when there was none.
func (b *Box) Reopen(ctx context.Context, group, by string) (found bool, err error) {
	if !IsGroup(group) {
		return false, fmt.Errorf("%q is no group such as 7fb47d95", group)
	}
	key := acknowledgedPrefix + group
	last, err := b.conn.LastState(ctx, key)
	if errors.Is(err, broker.ErrNoMessage) || err == nil && last.Deleted {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	entry := broker.AuditEntry{Actor: by, Verb: "reopen", Filter: "group=" + group}
	if err := b.conn.Audit(ctx, entry); err != nil {
		return false, err
	}
	return true, b.conn.SaveState(ctx, broker.DeleteState(key))
}

// WithAcknowledged returns groups that say whether they are acknowledged, by all acknowledgements.
func WithAcknowledged(groups []Group, all map[string]Acknowledgement) []Group {
	out := slices.Clone(groups)
	for i, group := range out {
		out[i].Acknowledged = nil
		if a, ok := all[group.ID]; ok && a.Covers(group) {
			out[i].Acknowledged = &a
		}
	}
	return out
}

// Acknowledged reads all acknowledgements, by group.
func (b *Box) Acknowledged(ctx context.Context) (map[string]Acknowledgement, error) {
	entries, err := b.conn.ReadState(ctx, acknowledgedPrefix)
	if err != nil {
		return nil, fmt.Errorf("acknowledged groups: %w", err)
	}
	all := make(map[string]Acknowledgement, len(entries))
	for _, e := range entries {
		var a Acknowledgement
		if json.Unmarshal(e.Value, &a) == nil { // of a later version: the group is open
			all[strings.TrimPrefix(e.Key, acknowledgedPrefix)] = a
		}
	}
	return all, nil
}
