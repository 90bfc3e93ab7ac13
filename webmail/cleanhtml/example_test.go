package cleanhtml_test

import (
	"fmt"

	"github.com/mailkeel/mailkeel/webmail/cleanhtml"
)

func Example() {
	r := cleanhtml.Clean(`<h1 onclick="steal()">News</h1><script src="//evil.example/x.js"></script>
<p style="color:navy; position:fixed">Hello<img src="https://tracker.example/1.gif"><img src="cid:logo">`, cleanhtml.Options{
		CID: func(cid string) string { return "/mail/cid/" + cid },
	})
	fmt.Println(r.HTML)
	fmt.Println(r.Remote, "remote image")
	// Output:
	// <h1>News</h1>
	// <p style="color:navy">Hello<img/><img src="/mail/cid/logo"/></p>
	// 1 remote image
}
