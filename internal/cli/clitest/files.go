package clitest

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kefuhq/kefu/internal/broker"
	"github.com/kefuhq/kefu/internal/broker/brokertest"
	"github.com/kefuhq/kefu/internal/wire"
	"github.com/kefuhq/kefu/schema"
)

// Files is a broker with one app's queue, and files.
type Files struct {
	*require.Assertions
	T      *testing.T
	Conn   *broker.Conn
	Config string
	Dir    string
}

// CampaignTemplate is a packet with a place to fill in.
const CampaignTemplate = `{"msgtype":"text","text":{"content":"{{name}}，您好"}}`

// NewFiles starts the broker and writes CampaignTemplate into packet.json.
func NewFiles(t *testing.T) *Files {
	t.Helper()
	b := brokertest.Start(t, "wx1")
	s := &Files{Assertions: require.New(t), T: t, Conn: b.Connect(), Dir: t.TempDir()}
	s.Config = fmt.Sprintf("nats: {url: %q}\napps:\n  - {appid: wx1, name: 旗舰店, secret_env: S}\n",
		b.URL())
	s.Write("packet.json", CampaignTemplate)
	return s
}

// Write writes a file.
func (s *Files) Write(name, text string) {
	s.T.Helper()
	s.NoError(os.WriteFile(filepath.Join(s.Dir, name), []byte(text), 0o600))
}

// Kefu runs a command line in which @name is a file of the stage.
func (s *Files) Kefu(line string, change ...func(*Try)) Result {
	s.T.Helper()
	c := Try{Args: Args(strings.ReplaceAll(line, "@", s.Dir+"/")), File: s.Config}
	for _, f := range change {
		f(&c)
	}
	r := Run(s.T, c)
	r.Out, r.Err = strings.ReplaceAll(r.Out, s.Dir+"/", ""), strings.ReplaceAll(r.Err, s.Dir+"/",
		"")
	return r
}

// Messages returns how many intents the app's queue holds.
func (s *Files) Messages() (n int) {
	s.T.Helper()
	s.NoError(s.Conn.Scan(s.T.Context(), schema.SendStream("wx1"), broker.ScanOptions{},
		func(broker.Stored) error { n++; return nil }))
	return n
}

// Audits returns the entries of the audit.
func (s *Files) Audits() (entries []broker.AuditEntry) {
	s.T.Helper()
	s.NoError(s.Conn.Scan(s.T.Context(), wire.StreamAudit, broker.ScanOptions{},
		func(m broker.Stored) error {
			entries = append(entries, broker.AuditEntry{})
			return json.Unmarshal(m.Data, &entries[len(entries)-1])
		}))
	return entries
}
