// Package intent is the commands about single messages: `kefu send`, `kefu validate`, `kefu find`
// and `kefu cancel`.
package intent
