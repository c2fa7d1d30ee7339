package dead_test

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"

	"github.com/kefuhq/kefu/internal/broker"
	"github.com/kefuhq/kefu/internal/cli"
	"github.com/kefuhq/kefu/internal/cli/clitest"
	"github.com/kefuhq/kefu/internal/cli/dead"
	"github.com/kefuhq/kefu/internal/deadletter"
	"github.com/kefuhq/kefu/schema"
)

// boxedLines are the letters in the box as they are stored, one on each line.
func boxedLines(o *clitest.Operation) string {
	o.T.Helper()
	var lines strings.Builder
	o.NoError(o.Conn.Scan(o.T.Context(), schema.StreamDead, broker.ScanOptions{},
		func(s broker.Stored) error {
			lines.Write(s.Data)
			lines.WriteByte('\n')
			return nil
		}))
	return lines.String()
}

func TestDeadExportWritesLettersAsTheyAreStored(t *testing.T) {
	t.Parallel()
	o := clitest.NewOperation(t)
	o.Bury(clitest.DeadLetter("a"), clitest.DeadLetter("b"),
		clitest.DeadLetter("c", func(l *schema.Letter) { l.Body, l.BodyBase64 = "", []byte{0xff} }))
	folder := t.TempDir()
	path := filepath.Join(folder, "letters.ndjson")

	got := o.Kefu("dead export " + path)
	o.Equal(clitest.Ended(cli.ExitDone, "3 letters were exported to "+path+"\n", ""), got)
	text, err := os.ReadFile(path)
	o.NoError(err)
	o.Equal(boxedLines(o), string(text))
	info, err := os.Stat(path)
	o.NoError(err)
	o.Equal(os.FileMode(0o600), info.Mode().Perm())
	o.Equal(3, o.Boxed())
	o.Equal([]string{"reveal dead export all: recipients shown unmasked"}, o.Audited())

	for _, line := range []string{"dead export", "dead export - -o json"} {
		got = o.Kefu(line)
		o.Equal(clitest.Ended(cli.ExitDone, string(text), "3 letters were exported\n"), got)
	}
	made := clitest.Decode[dead.Exported](o,
		o.Kefu("dead export --openid "+clitest.Recipient+" --id b -o json "+path+".gz"))
	o.Equal(1, made.Exported)
	packed, err := os.ReadFile(path + ".gz")
	o.NoError(err)
	r, err := gzip.NewReader(bytes.NewReader(packed))
	o.NoError(err)
	text, err = io.ReadAll(r)
	o.NoError(err)
	var l schema.Letter
	o.NoError(json.Unmarshal(text, &l))
	o.Equal("b", l.ID)
	o.Equal([]int{3, 3, 3, 1}, o.Revealed())
	o.Len(o.Audited(), 4) // which sees that none holds the openid

	o.Equal(cli.ExitNothing, o.Kefu("dead export --campaign none "+path+".none").Code)
	refused := o.Kefu("dead export " + path)
	o.Equal(cli.ExitUsage, refused.Code)
	o.Contains(refused.Err, "letters.ndjson exists. Overwrite it? There is no terminal to ask on")
	o.Equal(cli.ExitDone, o.Kefu("dead export --yes "+path).Code)
	o.Contains(o.Kefu("dead export "+folder).Err, "is no regular file")
	o.Contains(o.Kefu("dead export "+folder+"/none/x").Err, "there is no folder "+folder+"/none")
	files, err := os.ReadDir(folder)
	o.NoError(err)
	o.Len(files, 2)
}

func TestDeadExportOfMessagesPublishedByHand(t *testing.T) {
	t.Parallel()
	o := clitest.NewOperation(t)
	o.Publish(&nats.Msg{Subject: "kefu.dead.wx1.expired", Data: []byte("no letter")})
	m, err := deadletter.Message(clitest.DeadLetter("a"))
	o.NoError(err)
	var pretty bytes.Buffer
	o.NoError(json.Indent(&pretty, m.Data, "", "  "))
	whole := string(m.Data)
	m.Data = pretty.Bytes()
	o.Publish(m)
	got := o.Kefu("dead export")
	o.Equal(whole+"\n", got.Out)
	o.Contains(got.Err, "not exported: 1 message in KEFU_DEAD that kefu did not write")
}
