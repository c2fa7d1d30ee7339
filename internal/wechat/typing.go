package wechat

import "context"

// Typing shows the user that an answer is being written, for 15 s or until a message is sent. It
// wants an exchange with the user within the last 30 s (else 45080) and no sign that is shown
// already (45081). It is best effort: no failure of it is worth a second try.
//
// API: typing, beside Send's page.
func (c *Client) Typing(ctx context.Context, openid string) error {
	return c.command(ctx, openid, "Typing")
}

// CancelTyping takes the sign away before its time.
func (c *Client) CancelTyping(ctx context.Context, openid string) error {
	return c.command(ctx, openid, "CancelTyping")
}

func (c *Client) command(ctx context.Context, openid, command string) error {
	_, err := c.do(ctx, c.typing, encode(struct {
		ToUser  string `json:"touser"`
		Command string `json:"command"`
	}{openid, command}))
	return err
}
