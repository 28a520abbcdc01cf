package config

import (
	"encoding/base64"
	"testing"
)

func TestRefreshSecretsHave32Bytes(t *testing.T) {
	raw, err := base64.StdEncoding.DecodeString(goodSecret)
	if err != nil {
		t.Fatal(err)
	}
	for _, bytes := range [][]byte{raw[:16], raw[:31], append(raw[:32:32], 1)} {
		message := refused(t, "LATCHKEY_REFRESH_SECRET="+base64.StdEncoding.EncodeToString(bytes))
		mustMention(t, message, "LATCHKEY_REFRESH_SECRET value 1 must be 32 bytes in base64")
	}
	load(t, "LATCHKEY_REFRESH_SECRET="+base64.StdEncoding.EncodeToString(raw))
}
