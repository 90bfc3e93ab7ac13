# Signs and verifies messages with Mail::DKIM: one JSON object a line in, one out.
use strict;
use warnings;
use JSON::PP;
use MIME::Base64;
use Mail::DKIM::PrivateKey;
use Mail::DKIM::PublicKey;
use Mail::DKIM::Signer;
use Mail::DKIM::Verifier;

my %records;
{
    # Where it would ask DNS.
    no warnings 'redefine';
    *Mail::DKIM::DNS::query_async = sub {
        my ($domain, $type, %opt) = @_;
        my $text = $records{$domain};
        my @found = defined $text ? (bless { text => $text }, 'Record') : ();
        my $result = $opt{Callbacks}{Success}->(@found);
        return sub { $result };
    };
}
package Record { sub type { 'TXT' } sub char_str_list { $_[0]{text} } sub txtdata { $_[0]{text} } }

while (my $line = <STDIN>) {
    my $job = decode_json($line);
    if ($job->{records}) {
        %records = %{ $job->{records} };
        next;
    }
    my $message = decode_base64($job->{message});
    my $out = eval {
        if ($job->{do} eq 'verify') {
            my $dkim = Mail::DKIM::Verifier->new();
            $dkim->PRINT($message);
            $dkim->CLOSE;
            return { good => [ map { $_->algorithm =~ /^rsa/ ? ($_->result eq 'pass' ? JSON::PP::true : JSON::PP::false) : () } $dkim->signatures ],
                     detail => join(', ', map { $_->algorithm . ' ' . $_->result_detail } $dkim->signatures) };
        }
        (my $key = $job->{key}) =~ s/-----[^\n]*-----|\s//g;
        my $dkim = Mail::DKIM::Signer->new(
            Algorithm => $job->{algorithm}, Method => "$job->{header}/$job->{body}", Domain => $job->{domain}, Selector => $job->{selector},
            Key => Mail::DKIM::PrivateKey->load(Data => $key));
        $dkim->PRINT($message);
        $dkim->CLOSE;
        return { message => encode_base64($dkim->signature->as_string . "\r\n" . $message, '') };
    };
    print encode_json($out || { error => "$@" }), "\n";
}
