package kfaccount

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kefuhq/kefu/internal/cli"
)

func TestAPasswordMayBeginWithAByteOrderMark(t *testing.T) {
	t.Parallel()
	for _, file := range []string{"plain", "\ufeffplain"} {
		env := cli.New(cli.Process{In: strings.NewReader(file + "\r\n")})
		p := &profile{access: access{streams: env.Streams}}
		password, err := p.readPassword("-")
		require.NoError(t, err)
		require.Equal(t, "plain", password)
	}
}
