// Package webtest holds the tests of package webmail in a real browser: Chromium,
// driven by chromedp. They are apart from webmail so that who imports that does not
// have to know the modules of the driver.
//
// Mail arrives by SMTP at a server in the process and is read over its webmail, with
// scripts on and off. The payloads stand in webmail/testdata: those of xss call the
// function ran, which the browser reports wherever it is called; those of remote name a
// host whose listener counts connections. A page without any protection shows that
// payloads and vectors do what they say.
//
// MAILKEEL_SHOTS=dir writes a picture of every screen there.
package webtest
