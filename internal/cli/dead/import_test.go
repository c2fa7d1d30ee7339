package dead_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/kefuhq/kefu/internal/cli"
	"github.com/kefuhq/kefu/internal/cli/clitest"
	"github.com/kefuhq/kefu/internal/cli/dead"
	"github.com/kefuhq/kefu/internal/deadletter"
	"github.com/kefuhq/kefu/internal/letter"
	"github.com/kefuhq/kefu/schema"
)

func TestLettersThatWereExportedAndDiscardedCanBeReplayed(t *testing.T) {
	t.Parallel()
	o := clitest.NewOperation(t)
	recent := func(l *schema.Letter) { l.DiedAt = l.PublishedAt }
	o.Bury(clitest.DeadLetter("a", recent), clitest.DeadLetter("b", recent),
		clitest.DeadLetter("c", recent, clitest.OfApp("wx2")))
	path := filepath.Join(t.TempDir(), "letters.ndjson.gz")
	o.Equal(cli.ExitDone, o.Kefu("dead export --app wx1 "+path).Code)
	o.Equal(cli.ExitDone, o.Kefu("dead discard --all --yes").Code)
	o.Zero(o.Boxed())

	got := o.Kefu("dead import " + path)
	o.Equal(cli.ExitDone, got.Code, got.Err)
	o.Regexp(`^imported +2 letters in \S+\n$`, got.Out)
	o.Empty(got.Err)
	again := clitest.Decode[dead.ImportResult](o, o.Kefu("dead import -o json "+path))
	o.Zero(again.Imported)
	o.Equal(2, again.Present)
	o.Contains(o.Kefu("dead import "+path).Out, "already there  2 letters")

	o.Len(clitest.Decode[[]letter.Letter](o, o.Kefu("dead show a -o json")), 1)
	o.Contains(o.Kefu("find b").Out, "dead")
	o.Replayer()
	o.Equal(cli.ExitDone, o.Kefu("dead replay --all --yes").Code)
	o.Len(o.Queued("wx1"), 2)
	o.Empty(o.Queued("wx2"))
	o.Kefu("dead import " + path)
	o.Equal(cli.ExitFailed, o.Kefu("dead replay --all --yes").Code)
	o.Len(o.Queued("wx1"), 2, "none is sent twice")

	var imports []string
	for _, entry := range o.Audited() { // which sees that none holds the openid
		if strings.HasPrefix(entry, "import") {
			imports = append(imports, entry)
		}
	}
	o.Equal([]string{
		"import: begins, 2 in the file", "import: imported 2, already there 0, refused 0",
	}, imports[:2])
	o.Len(imports, 8)
}

func TestDeadImportOfAFileWithBadLines(t *testing.T) {
	t.Parallel()
	o := clitest.NewOperation(t)
	m, err := deadletter.Message(clitest.DeadLetter("a", func(l *schema.Letter) {
		l.DiedAt = clitest.Died.AddDate(0, -3, 0)
	}))
	o.NoError(err)
	path := filepath.Join(t.TempDir(), "letters")
	bad := `{"appid":"wx1","id":"x","reason":"` + clitest.Recipient + `"}`
	o.NoError(os.WriteFile(path, []byte(string(m.Data)+"\n"+bad+"\n"), 0o600))

	warning := "warning: " + path + ", line 2: reason: missing, or none that is known\n"
	got := o.Kefu("dead import " + path)
	o.Equal(clitest.Ended(cli.ExitFailed, "",
		warning+"kefu: lines that cannot be imported: 1 of 2. Nothing was imported; "+
			"--skip-invalid imports the others\n"), got)
	dry := o.Kefu("dead import --dry-run " + path)
	o.Equal(cli.ExitFailed, dry.Code)
	o.Contains(dry.Out, "Nothing was changed.")
	o.Contains(dry.Err, warning)
	var plan deadletter.ImportPlan
	o.NoError(json.Unmarshal([]byte(o.Kefu("dead import --dry-run -o json "+path).Out), &plan))
	o.Equal([]deadletter.BadLine{{Line: 2, Rule: "reason: missing, or none that is known"}}, plan.Bad)
	o.Zero(o.Boxed())
	o.Empty(o.Audited())

	partly := o.Kefu("dead import --skip-invalid " + path)
	o.Equal(cli.ExitPartly, partly.Code)
	o.Regexp(`(?m)^imported +1 letter in .*\nrefused +1 line$`, partly.Out)
	o.Equal(warning+"1 letter died longer ago than letters are kept: they are kept from now on, "+
		"as if they had died today\nkefu: refused: 1 line\n", partly.Err)
	o.Equal(1, o.Boxed())

	other := o.Kefu("dead import --app wx2 " + path)
	o.Equal(cli.ExitFailed, other.Code)
	o.Contains(other.Err, "line 1: appid: not the one that --app chooses")
}

func TestDeadImportReadsStdin(t *testing.T) {
	t.Parallel()
	o := clitest.NewOperation(t)
	o.Bury(clitest.DeadLetter("a"))
	file := o.Kefu("dead export").Out
	o.Kefu("dead discard a --yes")
	piped := func(text string) func(*clitest.Try) {
		return func(c *clitest.Try) { c.Stdin = text }
	}
	dry := o.Kefu("dead import - --dry-run", piped(file))
	o.Equal(cli.ExitDone, dry.Code, dry.Err)
	o.Regexp(`1 letter, died 2026-11-20 .*\nNothing was changed\.\n$`, dry.Out)
	o.Zero(o.Boxed())
	o.Equal(cli.ExitDone, o.Kefu("dead import -", piped("\ufeff"+file)).Code)
	o.Equal(1, o.Boxed())

	o.Equal(clitest.Ended(cli.ExitNothing, "", "kefu: stdin holds no letter\n"),
		o.Kefu("dead import -", piped("\n")))
	o.Contains(o.Kefu("dead import "+t.TempDir()).Err, "is a folder")
	o.Contains(o.Kefu("dead import none").Err, "none: no such file")
	o.Contains(o.Kefu("dead import -", piped("\x1f\x8bxx")).Err, "kefu: stdin: unpack: ")
}
