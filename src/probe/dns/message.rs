//! DNS messages (RFC 1035) by hickory-proto: one question out, one judged answer in.

use hickory_proto::{
    op::{Edns, Message, MessageType, OpCode, Query, ResponseCode},
    rr::{Name, Record, RecordType},
    serialize::binary::BinEncodable,
};

use super::{
    data,
    spec::{Answer, DnsSpec, RecordType as Type},
};
use crate::{
    model::{EmptyAnswer, Failure},
    probe::pattern::Pattern,
};

/// What fits into a datagram on every path (DNS flag day 2020).
const UDP_PAYLOAD: u16 = 1232;

/// The bytes of a header (RFC 1035 4.1.1).
const HEADER: usize = 12;

/// The most records of an answer: more than fit into a datagram. Names in records are compressed, so that few bytes can
/// take long to parse.
const MAX_RECORDS: u32 = 256;

/// How many records the header announces.
fn record_count(bytes: &[u8]) -> Option<u32> {
    let counts = bytes.get(6..HEADER)?.chunks_exact(2);
    Some(counts.map(|count| u32::from(u16::from_be_bytes([count[0], count[1]]))).sum())
}

/// How many questions the header announces.
fn question_count(bytes: &[u8]) -> Option<u16> {
    bytes.get(4..6).map(|count| u16::from_be_bytes([count[0], count[1]]))
}

/// Whether the header says that it is a response, as far as it is there.
fn may_be_response(bytes: &[u8]) -> bool {
    bytes.get(2).is_none_or(|flags| flags & 0x80 != 0)
}

/// A question that is asked again and again, each time with a new identifier.
#[derive(Debug)]
pub(super) struct Question {
    query: Query,
    /// The query as it stands in a message, right after the header.
    section: Vec<u8>,
    recursion: bool,
}

/// What an answer with an expected rcode holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Content {
    /// Records of the type that was asked for, which are as expected.
    Records,
    /// No error and no such record.
    Nothing(EmptyAnswer),
    /// An rcode that announces none.
    Rcode,
}

/// What an answer is worth.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Judgement {
    /// It answers our question.
    Answer(Result<Content, Failure>),
    /// It answers our question, but not all of it fitted.
    Truncated,
    /// The server does not know EDNS, and wants the question without it (RFC 6891 7).
    NoEdns,
    /// It is not an answer to our question: wrong identifier, wrong question, or no answer at all.
    Unrelated,
}

impl Question {
    /// The configured question; `None` if its name is not a DNS name, which `check` rejects.
    pub(super) fn new(spec: &DnsSpec) -> Option<Self> {
        // Label by label, because a name in text has escapes, and names with `/` or `*` are asked for, too (RFC 2317 4).
        let mut name =
            Name::from_labels(spec.query.split('.').filter(|label| !label.is_empty()).map(str::as_bytes)).ok()?;
        name.set_fqdn(true);
        let query = Query::query(name, RecordType::from(spec.record.0));
        let section = query.to_bytes().ok()?;
        Some(Self { query, section, recursion: spec.recursion })
    }

    /// The question as bytes, with this identifier, and with EDNS or without.
    pub(super) fn encode(&self, id: u16, edns: bool) -> Vec<u8> {
        let mut message = Message::new(id, MessageType::Query, OpCode::Query);
        message.metadata.recursion_desired = self.recursion;
        message.add_query(self.query.clone());
        if edns {
            let mut edns = Edns::new();
            edns.set_max_payload(UDP_PAYLOAD);
            message.set_edns(edns);
        }
        // A name that was parsed can be written.
        message.to_vec().unwrap_or_default()
    }

    /// Judges what came back to the question with EDNS or without.
    pub(super) fn judge(&self, bytes: &[u8], id: u16, edns: bool, spec: &DnsSpec) -> Judgement {
        // Before anything is parsed, because parsing costs and comparing does not.
        let repeated = question_count(bytes) == Some(0) || self.is_repeated_in(bytes);
        if bytes.get(..2) != Some(&id.to_be_bytes()) || !may_be_response(bytes) || !repeated {
            return Judgement::Unrelated;
        }
        let is_small = question_count(bytes).is_some_and(|count| count <= 1)
            && record_count(bytes).is_some_and(|count| count <= MAX_RECORDS);
        if !is_small {
            return Judgement::Answer(Err(Failure::Protocol));
        }
        let Ok(message) = Message::from_vec(bytes) else {
            return Judgement::Answer(Err(Failure::Protocol));
        };
        let rcode = message.metadata.response_code;
        // Servers that do not understand a question may not repeat it.
        let is_ours = match &message.queries[..] {
            [query] => self.is(query),
            queries => queries.is_empty() && rcode != ResponseCode::NoError,
        };
        if !is_ours {
            return Judgement::Unrelated;
        }
        let unknown_to_server = matches!(rcode, ResponseCode::FormErr | ResponseCode::NotImp) && message.edns.is_none();
        if edns && unknown_to_server && verdict(&message, bytes, spec).is_err() {
            return Judgement::NoEdns;
        }
        if message.metadata.truncation {
            // The rcode is not what did not fit.
            return match verdict(&message, bytes, spec) {
                Err(Failure::Status) => Judgement::Answer(Err(Failure::Status)),
                _ => Judgement::Truncated,
            };
        }
        Judgement::Answer(verdict(&message, bytes, spec))
    }

    /// Whether the message can repeat our question. One that is too short for it is cheap to parse, which says what is
    /// wrong with it.
    fn is_repeated_in(&self, bytes: &[u8]) -> bool {
        let repeated = bytes.get(HEADER..HEADER + self.section.len());
        repeated.is_none_or(|repeated| repeated.eq_ignore_ascii_case(&self.section))
    }

    fn is(&self, query: &Query) -> bool {
        query.name() == self.query.name()
            && query.query_type() == self.query.query_type()
            && query.query_class() == self.query.query_class()
    }
}

fn verdict(message: &Message, bytes: &[u8], spec: &DnsSpec) -> Result<Content, Failure> {
    let rcode = message.metadata.response_code;
    if !spec.rcodes.iter().any(|expected| u16::from(expected.0) == u16::from(rcode)) {
        return Err(Failure::Status);
    }
    let mut records = data::answers(bytes).ok_or(Failure::Protocol)?;
    records.retain(|(record, _)| spec.record.is_any() || spec.record.0 == *record);
    if records.is_empty() {
        return match rcode {
            ResponseCode::NoError => Ok(Content::Nothing(empty_answer(message))),
            _ if spec.expects_records() => Err(Failure::Mismatch),
            _ => Ok(Content::Rcode),
        };
    }
    if spec.compares() && !is_expected(&records, bytes, spec) {
        return Err(Failure::Mismatch);
    }
    Ok(Content::Records)
}

/// Whether these records are as expected.
fn is_expected(records: &[(u16, std::ops::Range<usize>)], bytes: &[u8], spec: &DnsSpec) -> bool {
    // Data that is not what its type says equals nothing.
    let read = |(record, place): &(u16, std::ops::Range<usize>)| {
        Some((Type(*record), data::read(*record, bytes, place.clone())?))
    };
    let found: Vec<_> = records.iter().filter_map(read).collect();
    let is_there = |expected: &Answer| found.iter().any(|(record, data)| expected.is(*record, data));
    let matching = |pattern: &Pattern| {
        found.iter().filter(|(record, data)| pattern.is_match(data::present(record.0, data).as_bytes())).count()
    };
    spec.answers.iter().all(is_there)
        && spec.some_answer.as_ref().is_none_or(|pattern| matching(pattern) > 0)
        && spec.every_answer.as_ref().is_none_or(|pattern| matching(pattern) == records.len())
        && spec.no_answer.as_ref().is_none_or(|pattern| matching(pattern) == 0)
}

/// Why an answer without an error has no record that was asked for.
fn empty_answer(message: &Message) -> EmptyAnswer {
    let is = |record: &Record, wanted| record.record_type() == wanted;
    if message.answers.iter().any(|record| is(record, RecordType::CNAME)) {
        return EmptyAnswer::Alias;
    }
    // A server that has no such record names the start of its zone; one that refers to others names them (RFC 2308 2.2).
    let names = |wanted| message.authorities.iter().any(|record| is(record, wanted));
    if names(RecordType::NS) && !names(RecordType::SOA) { EmptyAnswer::Referral } else { EmptyAnswer::NoRecord }
}

/// What the fuzz target calls.
pub fn fuzz_answer(bytes: &[u8]) {
    let question = DnsSpec::question(53, "example.com".into(), Type(1));
    let answers = Answer::parse("192.0.2.1", Type(1)).into_iter().collect();
    let spec = DnsSpec { recursion: false, answers, ..question };
    if let Some(question) = Question::new(&spec) {
        let id = bytes.get(..2).map_or(0, |b| u16::from_be_bytes([b[0], b[1]]));
        for edns in [true, false] {
            question.judge(bytes, id, edns, &spec);
        }
    }
    for (_, place) in data::answers(bytes).unwrap_or_default() {
        for record in [5, 6, 16, 35, 43, 48, 65, 257, 999] {
            if let Some(data) = data::read(record, bytes, place.clone()) {
                data::parse(record, &data::present(record, &data));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use hickory_proto::rr::{
        RData,
        rdata::{A, CNAME, NS, SOA},
    };

    use std::str::FromStr as _;

    use super::*;

    fn spec(answers: &[&str]) -> DnsSpec {
        let question = DnsSpec::question(53, "app.example.com".into(), Type(1));
        let answers = answers.iter().map(|text| Answer::parse(text, Type(1)).unwrap()).collect();
        DnsSpec { recursion: false, answers, ..question }
    }

    fn answer(name: &str, id: u16, change: impl FnOnce(&mut Message)) -> Vec<u8> {
        let mut message = Message::new(id, MessageType::Response, OpCode::Query);
        let name = Name::from_str(name).unwrap();
        message.add_query(Query::query(name.clone(), RecordType::A));
        message.add_answer(Record::from_rdata(name, 60, RData::A(A::new(192, 0, 2, 1))));
        change(&mut message);
        message.to_vec().unwrap()
    }

    fn judge(bytes: &[u8], spec: &DnsSpec) -> Judgement {
        Question::new(spec).unwrap().judge(bytes, 7, true, spec)
    }

    #[test]
    fn every_name_that_check_accepts_is_asked_for() {
        for name in [".", "example.", "1/2.0.192.in-addr.arpa.", "a.*.example.", "-a.example.", "_sip._tcp.example."] {
            let question = Question::new(&DnsSpec { query: name.into(), ..spec(&[]) });
            let asked = question.unwrap_or_else(|| panic!("{name} cannot be asked for")).encode(7, false);
            let read = Message::from_vec(&asked).unwrap();
            let labels: Vec<_> =
                read.queries[0].name().iter().map(|label| String::from_utf8(label.to_vec()).unwrap()).collect();
            assert_eq!(labels.join(".") + ".", name);
        }
    }

    #[test]
    fn an_error_needs_no_question_section_and_one_that_edns_may_cause_is_asked_again_without() {
        let error = |code| {
            answer("app.example.com.", 7, |m| {
                (m.queries, m.answers) = (Vec::new(), Vec::new());
                m.metadata.response_code = code;
            })
        };
        assert_eq!(judge(&error(ResponseCode::Refused), &spec(&[])), Judgement::Answer(Err(Failure::Status)));
        assert_eq!(judge(&error(ResponseCode::NoError), &spec(&[])), Judgement::Unrelated);
        for code in [ResponseCode::FormErr, ResponseCode::NotImp] {
            assert_eq!(judge(&error(code), &spec(&[])), Judgement::NoEdns);
            let without = Question::new(&spec(&[])).unwrap().judge(&error(code), 7, false, &spec(&[]));
            assert_eq!(without, Judgement::Answer(Err(Failure::Status)));
            // A server that answers with EDNS knows it, and an error that is expected is no reason to ask again.
            let knows = answer("app.example.com.", 7, |m| {
                m.metadata.response_code = code;
                m.set_edns(Edns::new());
            });
            assert_eq!(judge(&knows, &spec(&[])), Judgement::Answer(Err(Failure::Status)));
            let rcodes = vec![super::super::spec::Rcode(u16::from(code) as u8)];
            assert_eq!(judge(&error(code), &DnsSpec { rcodes, ..spec(&[]) }), Judgement::Answer(Ok(Content::Rcode)));
        }
    }

    #[test]
    fn an_answer_is_accepted_whatever_the_case_of_its_name() {
        let bytes = answer("APP.example.com.", 7, |_| {});
        assert_eq!(judge(&bytes, &spec(&["192.0.2.1"])), Judgement::Answer(Ok(Content::Records)));
    }

    #[test]
    fn a_wrong_identifier_or_question_is_unrelated() {
        assert_eq!(judge(&answer("app.example.com.", 8, |_| {}), &spec(&[])), Judgement::Unrelated);
        assert_eq!(judge(&answer("evil.example.com.", 7, |_| {}), &spec(&[])), Judgement::Unrelated);
        let query = |m: &mut Message| m.metadata.message_type = MessageType::Query;
        assert_eq!(judge(&answer("app.example.com.", 7, query), &spec(&[])), Judgement::Unrelated);
    }

    #[test]
    fn an_answer_that_repeats_our_question_among_others_is_a_protocol_error() {
        let two = answer("app.example.com.", 7, |m| {
            m.add_query(Query::query(Name::from_str("evil.example.com.").unwrap(), RecordType::A));
        });
        assert_eq!(judge(&two, &spec(&[])), Judgement::Answer(Err(Failure::Protocol)));
    }

    #[test]
    fn an_incomplete_answer_is_a_protocol_error() {
        let whole = answer("app.example.com.", 7, |_| {});
        for cut in 2..whole.len() {
            let judgement = judge(&whole[..cut], &spec(&[]));
            assert_eq!(judgement, Judgement::Answer(Err(Failure::Protocol)), "cut at {cut}");
        }
    }

    #[test]
    fn rcode_and_records_are_compared_with_what_is_expected() {
        let refused = answer("app.example.com.", 7, |m| m.metadata.response_code = ResponseCode::Refused);
        assert_eq!(judge(&refused, &spec(&[])), Judgement::Answer(Err(Failure::Status)));
        let other = answer("app.example.com.", 7, |_| {});
        assert_eq!(judge(&other, &spec(&["192.0.2.2"])), Judgement::Answer(Err(Failure::Mismatch)));
        let truncated = answer("app.example.com.", 7, |m| m.metadata.truncation = true);
        assert_eq!(judge(&truncated, &spec(&["192.0.2.2"])), Judgement::Truncated);
        let failed = answer("app.example.com.", 7, |m| {
            m.metadata.truncation = true;
            m.metadata.response_code = ResponseCode::ServFail;
        });
        assert_eq!(judge(&failed, &spec(&[])), Judgement::Answer(Err(Failure::Status)));
    }

    #[test]
    fn an_answer_without_a_record_of_the_type_says_why_it_has_none() {
        let name = || Name::from_str("app.example.com.").unwrap();
        let record = |data| Record::from_rdata(name(), 60, data);
        let soa = || record(RData::SOA(SOA::new(name(), name(), 1, 60, 60, 60, 60)));
        let ns = || record(RData::NS(NS(name())));
        let empty = |change: &dyn Fn(&mut Message)| {
            let bytes = answer("app.example.com.", 7, |m| {
                m.answers = Vec::new();
                change(m);
            });
            judge(&bytes, &spec(&[]))
        };
        let nothing = |why| Judgement::Answer(Ok(Content::Nothing(why)));
        assert_eq!(empty(&|_| {}), nothing(EmptyAnswer::NoRecord));
        assert_eq!(empty(&|m| m.authorities = vec![soa()]), nothing(EmptyAnswer::NoRecord));
        assert_eq!(empty(&|m| m.authorities = vec![ns()]), nothing(EmptyAnswer::Referral));
        let alias = |m: &mut Message| m.answers = vec![record(RData::CNAME(CNAME(name())))];
        assert_eq!(empty(&alias), nothing(EmptyAnswer::Alias));
        let any = DnsSpec { record: Type(255), ..spec(&[]) };
        let bytes = answer("app.example.com.", 7, |m| {
            m.queries[0].set_query_type(RecordType::ANY);
            alias(m);
        });
        assert_eq!(judge(&bytes, &any), Judgement::Answer(Ok(Content::Records)));
    }

    #[test]
    fn patterns_are_matched_with_answers_as_dig_prints_them() {
        let two = answer("app.example.com.", 7, |m| {
            let record = Record::from_rdata(Name::from_str("x.").unwrap(), 60, RData::A(A::new(198, 51, 100, 1)));
            m.answers.push(record);
        });
        let with = |some: Option<&str>, every: Option<&str>, no: Option<&str>| {
            let [some_answer, every_answer, no_answer] =
                [some, every, no].map(|source| source.map(|source| Pattern::new(source).unwrap()));
            judge(&two, &DnsSpec { some_answer, every_answer, no_answer, ..spec(&[]) })
        };
        let (right, wrong) = (Judgement::Answer(Ok(Content::Records)), Judgement::Answer(Err(Failure::Mismatch)));
        assert_eq!(with(Some("^198\\."), None, None), right);
        assert_eq!(with(Some("^10\\."), None, None), wrong);
        assert_eq!(with(None, Some("\\.1$"), None), right);
        assert_eq!(with(None, Some("^198\\."), None), wrong);
        assert_eq!(with(None, None, Some("^10\\.")), right);
        assert_eq!(with(None, None, Some("^192\\.")), wrong);
    }
}
